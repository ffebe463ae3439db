-- Tells that a replica lives, so that what it holds does not get stale.
--
-- KEYS  as of claim.lua
-- ARGV  1 owner  2 how long the keys are kept (ms)  3… holders
-- Gives those holders that are not its own any more: reclaimed, taken over, or lost with the server's data.

local flight, held = KEYS[1], KEYS[2]
local owner = ARGV[1]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local gone = {}

for i = 3, #ARGV do
  local text = redis.call('HGET', held, ARGV[i])
  if text and string.match(text, '^%d+ (%S+) ') == owner then
    redis.call('ZADD', flight, 'XX', now, ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[2])
end
return gone
