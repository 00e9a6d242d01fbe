-- ARGV: what is wanted (JSON), the request's name, '1' if repeated, a lane that is likely to have some.
-- JSON: [ms until something is due or -1, [jobs...]]
local found = claim(cjson.decode(ARGV[1]), ARGV[2], ARGV[3] == '1', ARGV[4])
return '[' .. int(#found > 0 and -1 or next_due()) .. ',[' .. table.concat(found, ',') .. ']]'
