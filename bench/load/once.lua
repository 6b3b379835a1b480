-- One request for each line of a file of bodies and no line twice; a thread whose lines are used up stops.
-- Arguments: file, Authorization header. The last line of the output says how many were answered in how many seconds.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1

-- What other scopes set or read is global: wrk copies nothing else between threads.
local bodies, at, threads = {}, 0, {}
number, answered, failed, first, last = 0, 0, 0, 0, 0

local function now()
  local moment = ffi.new("moment")
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(each)
  each:set("number", #threads)
  threads[#threads + 1] = each
end

function init(arguments)
  local line_number = 0
  for line in io.lines(arguments[1]) do
    if line_number % 2 == number then bodies[#bodies + 1] = line end
    line_number = line_number + 1
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  if arguments[2] ~= "" then wrk.headers["Authorization"] = arguments[2] end
end

local looked_at = false

function request()
  -- wrk looks at one request of the first thread before it begins, and sends it to nobody.
  if number == 0 and not looked_at then
    looked_at = true
    return wrk.format(nil, nil, nil, bodies[1])
  end
  if first == 0 then first = now() end
  at = at + 1
  return wrk.format(nil, nil, nil, bodies[at] or "grant_type=none_left")
end

function response(status, headers, body)
  -- Connections whose turn comes when all is used up have sent something harmless, which is not counted.
  if string.find(body, "unsupported_grant_type", 1, true) then return end
  answered = answered + 1
  if status ~= 200 then failed = failed + 1 end
  last = now()
  if answered == #bodies then wrk.thread:stop() end
end

function done(summary, latency, requests)
  local total, wrong, began, ended = 0, 0, math.huge, 0
  for _, each in ipairs(threads) do
    total = total + each:get("answered")
    wrong = wrong + each:get("failed")
    began = math.min(began, each:get("first"))
    ended = math.max(ended, each:get("last"))
  end
  print(string.format("Each once: %d answered, %d failed, %.6f seconds", total, wrong, ended - began))
end
