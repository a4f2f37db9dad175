-- What wrk asks and how it reports: `-- METHOD BYTES [statuses]`. The last line of its output is JSON.
--
-- With `statuses` each answer's status is counted, which makes wrk slower: for warming up only.

local counted, threads = {}, {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  wrk.method = args[1] or "GET"
  local bytes = tonumber(args[2] or "0")
  if bytes > 0 then
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("x", bytes)
  end
  statuses = ""
  if args[3] == "statuses" then
    function response(status)
      counted[status] = (counted[status] or 0) + 1
      local all = {}
      for one, times in pairs(counted) do all[#all + 1] = string.format('"%d": %d', one, times) end
      statuses = table.concat(all, ", ")
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "bytes": %d, "at_least_400": %d, "broken": %d, "statuses": {%s}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, threads[1]:get("statuses") or ""))
end
