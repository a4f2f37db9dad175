-- Many people, one after the other: `wrk -s people.lua URL -- COOKIES PATH REQUESTS`. COOKIES has a session a line. After so many
-- answers the run ends, or begins with the first one again where REQUESTS is 0.
local cookies, paths, most, asked, answered = {}, "/", 0, 0, 0
local head = {}

function init(args)
  for line in io.lines(args[1]) do cookies[#cookies + 1] = line end
  paths, most = args[2], tonumber(args[3])
  for name, value in pairs(wrk.headers) do head[name] = value end
end

function request()
  asked = asked + 1
  head["Cookie"] = "theme=dark; session=" .. cookies[(asked - 1) % #cookies + 1]
  return wrk.format("GET", paths, head)
end

function response(status)
  answered = answered + 1
  if answered == most then
    wrk.thread:stop()
    -- wrk sleeps until its time is over, or this signal.
    -- Its handler is away while a command runs.
    os.execute("wrk=$PPID; (sleep 0.01; kill -INT $wrk) &")
  end
end

-- What wrk measured, as one line of JSON.
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "at_least_400": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
