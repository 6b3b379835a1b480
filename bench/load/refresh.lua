-- Refreshes: every answer's refresh token is the body of a later request, so that each is used once.
-- Arguments: file of refresh tokens, Authorization header. Each thread takes every second line.
local tokens, first, last, threads = {}, 1, 0, 0

function setup(each)
  each:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  local line_number = 0
  for line in io.lines(arguments[1]) do
    if line_number % 2 == number then
      last = last + 1
      tokens[last] = line
    end
    line_number = line_number + 1
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  if arguments[2] ~= "" then wrk.headers["Authorization"] = arguments[2] end
end

function request()
  local token = tokens[first]
  if token == nil then return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=none_left") end
  tokens[first] = nil
  first = first + 1
  return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=" .. token)
end

function response(status, headers, body)
  local token = string.match(body, '"refresh_token":"([^"]+)"')
  if token ~= nil then
    last = last + 1
    tokens[last] = token
  end
end
