-- Obtains access tokens and writes them down, one a line, into a file of each thread's own.
-- Arguments: beginning of the files' names, Authorization header.
local file, threads = nil, 0

function setup(each)
  each:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  file = io.open(arguments[1] .. "." .. number, "w")
  file:setvbuf("line")
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.headers["Authorization"] = arguments[2]
  wrk.body = "grant_type=client_credentials"
end

function response(status, headers, body)
  local token = string.match(body, '"access_token":"([^"]+)"')
  if token ~= nil then file:write(token, "\n") end
end
