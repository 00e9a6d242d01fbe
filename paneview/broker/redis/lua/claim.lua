-- ARGV: what is wanted (JSON). { ms until something is due or -1, jobs... }
local found = claim(cjson.decode(ARGV[1]))
return { next_due(), found }
