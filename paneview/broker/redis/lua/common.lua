-- Begins every script. All keys start with KEYS[1], which holds the hash tag: one slot, one prefix for ACLs.
--
--   job:ID        hash, everything about a job          jobs, over:STATE, group:G   sorted by sequence number
--   ready:LANE    sorted by priority, then sequence     delayed, leases             sorted by due time, ms
--   blocked       set of ids                            n:STATE                     hash, jobs per lane
--   needs:ID      set: who waits for that job           owner:O                     set: what a holder holds
--   wake:LANE     list: one token per sleeper to wake   ears:ID                     set: who waits for a result
--
-- Times are milliseconds of this server's clock, never of a client's.

local B = KEYS[1]
local BUCKET = 4398046511104 -- 2^42 sequence numbers per priority; with 999 priorities a double stays exact
local AT_ONCE = 100

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function int(number) return string.format('%.0f', number) end

local function job_key(id) return B .. 'job:' .. id end

local function get(id, ...) return redis.call('HMGET', job_key(id), ...) end

-- A server that is out of memory, or cannot save, refuses commands that add and takes those that remove. So the first
-- command of a script that writes must be one that adds: it fails before anything is done, never half way.
local function check_room() redis.call('SET', B .. 'probe', '') end

-- Each call of the server takes as long as a hundred lines of a script. So events and numbers are gathered, and written
-- by `write_down` when the script has done the rest.
local events, numbers = {}, {}

local function event(kind, id, worker, detail) events[#events + 1] = { kind, id, worker, detail or '{}' } end

local function count(state, lane, change)
  local lanes = numbers[state] or {}
  numbers[state] = lanes
  lanes[lane] = (lanes[lane] or 0) + change
end

local function write_down()
  for state, lanes in pairs(numbers) do
    for lane, change in pairs(lanes) do
      if change ~= 0 and redis.call('HINCRBY', B .. 'n:' .. state, lane, change) <= 0 then
        redis.call('HDEL', B .. 'n:' .. state, lane)
      end
    end
  end
  if #events == 0 then return end
  local last = redis.call('INCRBY', B .. 'events:last', #events)
  for i, one in ipairs(events) do
    redis.call('XADD', B .. 'events', int(last - #events + i) .. '-0',
      'ts', int(now), 'kind', one[1], 'job', one[2], 'worker', one[3], 'detail', one[4])
  end
  if last % 64 < #events then
    redis.call('XTRIM', B .. 'events', 'MAXLEN', '~', redis.call('GET', B .. 'events:keep') or '100000')
  end
end

-- A whole number as a hash holds it; nil if something else has put another thing there.
local function whole(value) return value and string.find(value, '^%-?%d+$') and tonumber(value) end

local function counted(state, lane) return tonumber(redis.call('HGET', B .. 'n:' .. state, lane) or '0') end

-- Wakes one who sleeps on the lane, or the next who goes to sleep there within a minute.
local function wake(name)
  local tokens = redis.call('LPUSH', B .. 'wake:' .. name, '.')
  if tokens == 1 then redis.call('PEXPIRE', B .. 'wake:' .. name, 60000) end
  if tokens > 64 then redis.call('LTRIM', B .. 'wake:' .. name, 0, 63) end
end

-- By priority, the highest first, then by age.
local function rank(priority, seq) return tonumber(seq) - tonumber(priority) * BUCKET end

-- Puts a job into the set of those that wait. Its hash must say so.
local function line_up(id, lane, priority, seq, due)
  if due > now then
    redis.call('ZADD', B .. 'delayed', int(due), id)
    count('delayed', lane, 1)
  else
    redis.call('ZADD', B .. 'ready:' .. lane, int(rank(priority, seq)), id)
  end
  redis.call('SADD', B .. 'lanes', lane)
  wake(lane) -- also if it is delayed: it may be due sooner than what the sleepers wait for
end

-- Takes a job out of the set that its state has.
local function take_out(id, state, lane, owner)
  if state == 'queued' then
    redis.call('ZREM', B .. 'ready:' .. lane, id)
  elseif state == 'delayed' then
    redis.call('ZREM', B .. 'delayed', id)
    count('delayed', lane, -1)
  elseif state == 'blocked' then
    redis.call('SREM', B .. 'blocked', id)
    count('blocked', lane, -1)
  elseif state == 'leased' then
    redis.call('ZREM', B .. 'leases', id)
    redis.call('SREM', B .. 'owner:' .. owner, id)
    count('leased', lane, -1)
  elseif state then
    redis.call('ZREM', B .. 'over:' .. state, id)
  end
end
