-- ARGV: what is wanted (JSON), the request's name, '1' if repeated. JSON: [ms until something is due or -1, [jobs...]]
local found = claim(cjson.decode(ARGV[1]), ARGV[2], ARGV[3] == '1')
return '[' .. int(next_due()) .. ',[' .. table.concat(found, ',') .. ']]'
