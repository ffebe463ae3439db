-- Takes a holder out of a semaphore, where it is the asking replica's still: another may work on the same task now.
--
-- KEYS  as of claim.lua
-- ARGV  1 holder  2 owner

local flight, held, queue, asked, wants = unpack(KEYS)
local holder, owner = ARGV[1], ARGV[2]

local function mine(text)
  return text and string.match(text, '^%d+ (%S+) ') == owner
end

if mine(redis.call('HGET', held, holder)) then
  redis.call('ZREM', flight, holder)
  redis.call('HDEL', held, holder)
end
if mine(redis.call('HGET', wants, holder)) then
  redis.call('ZREM', queue, holder)
  redis.call('ZREM', asked, holder)
  redis.call('HDEL', wants, holder)
end
