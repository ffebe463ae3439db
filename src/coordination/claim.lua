-- Records what a holder has of a semaphore, and gives how many more it may take: grant.ts, by the server's time.
--
-- KEYS  1 flight  sorted set: holder by when it was last heard of (ms)
--       2 held    hash: holder -> "COUNT OWNER GROUP"
--       3 queue   sorted set: holder that waits, by rank
--       4 asked   sorted set: holder that waits, by when it last asked (ms)
--       5 wants   hash: holder that waits -> "COUNT OWNER GROUP"
-- ARGV  1 holder  2 held  3 wanted  4 rank  5 group  6 size  7 limit of a group  8 stale after (ms)
--       9 forgotten after (ms)  10 least part of all that is given for more  11 owner: the replica that asks
--       12… each other holder that the cluster shows, and how much it has by that
-- Gives a number from 0 to `wanted`.

local flight, held, queue, asked, wants = unpack(KEYS)
local holder, rank, group, owner = ARGV[1], ARGV[4], ARGV[5], ARGV[11]
local has, wanted = tonumber(ARGV[2]), tonumber(ARGV[3])
local size, groupLimit = tonumber(ARGV[6]), tonumber(ARGV[7])
local staleMs, forgetMs, leastPart = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function digits(number)
  return string.format('%.0f', number)
end

local function share(text)
  local count, _, of = string.match(text, '^(%d+) (%S+) (.*)$')
  return tonumber(count), of
end

local function leave_queue(name)
  redis.call('ZREM', queue, name)
  redis.call('ZREM', asked, name)
  redis.call('HDEL', wants, name)
end

local function record(count)
  if count > 0 then
    redis.call('ZADD', flight, digits(now), holder)
    redis.call('HSET', held, holder, count .. ' ' .. owner .. ' ' .. group)
  else
    redis.call('ZREM', flight, holder)
    redis.call('HDEL', held, holder)
  end
end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', digits(now - staleMs))) do
  redis.call('ZREM', flight, name)
  redis.call('HDEL', held, name)
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', asked, '-inf', digits(now - forgetMs))) do
  leave_queue(name)
end

record(has)
leave_queue(holder)
local granted = 0

if wanted > 0 then
  local groups = {}
  local inUse = {}
  for i = 12, #ARGV, 2 do inUse[ARGV[i]] = tonumber(ARGV[i + 1]) end
  local shares = redis.call('HGETALL', held)
  for i = 1, #shares, 2 do
    local count, of = share(shares[i + 1])
    inUse[shares[i]] = math.max(count, inUse[shares[i]] or 0)
    groups[of] = (groups[of] or 0) + count
  end
  inUse[holder] = has
  -- What was reclaimed, or lost with Redis, and still runs is not given out; what another has just taken does not show yet.
  local free = size
  for _, count in pairs(inUse) do free = free - count end

  -- Those that wait before it get what they asked for.
  redis.call('ZADD', queue, rank, holder)
  for _, name in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    if name == holder or free <= 0 then break end
    local count, of = share(redis.call('HGET', wants, name))
    local part = math.min(count, free, groupLimit - (groups[of] or 0))
    if part > 0 then
      free = free - part
      groups[of] = (groups[of] or 0) + part
    end
  end

  if free >= math.min(wanted, size * leastPart) then
    granted = math.max(0, math.min(wanted, free, groupLimit - (groups[group] or 0)))
  end
  record(has + granted)
  if granted < wanted then
    redis.call('ZADD', asked, digits(now), holder)
    redis.call('HSET', wants, holder, (wanted - granted) .. ' ' .. owner .. ' ' .. group)
  else
    leave_queue(holder)
  end
end

-- Nothing is left behind when nobody asks any more.
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, digits(2 * math.max(staleMs, forgetMs)))
end
return granted
