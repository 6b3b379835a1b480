-- One request of wrk for each line of a file of bodies, in turn, for ever; with a single line the request never changes.
-- Arguments: file, Authorization header.
local bodies, at, thread, threads = {}, 0, 0, 0

function setup(each)
  each:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  if arguments[2] ~= "" then wrk.headers["Authorization"] = arguments[2] end
  -- Threads begin at different places, so that they do not ask for the same at the same time.
  at = number * math.floor(#bodies / 2)
end

function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
