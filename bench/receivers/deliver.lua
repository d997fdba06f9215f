-- wrk's requests: pushes of 8 KB, each with a number, a commit and a signature of its own.
-- Arguments: the folder that bench/receiver.py has prepared, the event, "good" or "bad", and the
-- number before the first.
local head, tail, event, is_good = nil, nil, nil, nil
local signatures, number = {}, 0

local function read(path)
  local file = assert(io.open(path, "r"))
  local text = file:read("*a")
  file:close()
  return text
end

function init(arguments)
  local folder = arguments[1]
  head, tail = read(folder .. "/head"), read(folder .. "/tail")
  event, is_good, number = arguments[2], arguments[3] == "good", tonumber(arguments[4])
  for line in io.lines(folder .. "/signatures") do
    signatures[#signatures + 1] = line
  end
end

function request()
  number = number % #signatures + 1
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json",
    ["X-GitHub-Event"] = event,
    ["X-GitHub-Delivery"] = string.format("00000000-0000-4000-8000-%012d", number),
    ["X-Hub-Signature-256"] = is_good and signatures[number] or "sha256=" .. string.rep("0", 64),
  }, head .. string.format("%040d", number) .. tail)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "not_2xx": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
