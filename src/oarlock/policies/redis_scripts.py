"""What runs inside Redis: the meters of `gcra.py`, for many processes at once.

One hash for each quota, all times in microseconds of Redis' own clock, as whole numbers:

    requests, tokens    when the meter will have drained
    spared              what has been given back to `tokens` so far
    hold                until when nobody may pass
    turn                the last turn that was given to somebody who waits; the next is as far behind it as the meter
                        that makes them wait needs
    seen                the newest time; if the clock was set back by more than a second, so are all others

`settle` gives back only what surely was still in the meter: it drains `at` its ticket's time at the earliest, less what
others were given back since. So every later pass would have found the meter filled without it too, and the windows hold
as if the right weight had been taken at once.
"""

from __future__ import annotations

__all__ = ["HOLD", "SETTLE", "TAKE"]

# KEYS[1] the hash; ARGV[1] milliseconds to keep it after everything has drained; ARGV[2] microseconds of a hold, or 0.
_STATE = """
local key, clock = KEYS[1], redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local names = {'requests', 'tokens', 'hold', 'turn', 'seen', 'spared'}
local values, state = redis.call('HMGET', key, unpack(names)), {}
for index, name in ipairs(names) do
  state[name] = tonumber(values[index] or 0) or 0
end
local back = state.seen - now
state.seen = now
local function text(number)
  return string.format('%.0f', number)
end
local function save()
  local fields, last = {}, now
  for _, name in ipairs(names) do
    fields[#fields + 1] = name
    fields[#fields + 1] = text(state[name])
    if name ~= 'spared' then last = math.max(last, state[name]) end
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIRE', key, text((last - now) / 1000 + ARGV[1]))
end
if back > 1000000 then
  for _, name in ipairs({'requests', 'tokens', 'hold', 'turn'}) do
    if state[name] > 0 then state[name] = state[name] - back end
  end
  save()
end
if tonumber(ARGV[2]) > 0 and now + ARGV[2] > state.hold then
  state.hold = now + ARGV[2]
  save()
end
"""

# ARGV[3], ARGV[4]: microseconds a request, and of its burst; ARGV[5], ARGV[6]: of all tokens wanted, and of their burst; each 0
# where there is no limit. ARGV[7]: how long the caller can wait, to be given a turn; -1 for no turn.
# Returns the wait (0: passed), the waits for requests, for tokens and for the hold, and the ticket: tokens, spared.
TAKE = f"""{_STATE}
local one, all = tonumber(ARGV[3]), tonumber(ARGV[5])
local most = tonumber(ARGV[7])
local waits = {{state.requests + one - ARGV[4] - now, state.tokens + all - ARGV[6] - now, state.hold - now}}
local wait = math.max(0, unpack(waits))
if wait == 0 then
  if one > 0 then state.requests = math.max(state.requests, now) + one end
  if all > 0 then state.tokens = math.max(state.tokens, now) + all end
  save()
elseif most >= 0 then
  local apart = wait == waits[1] and one or wait == waits[2] and all or 0
  local turn = math.max(now + wait, state.turn + apart)
  wait = turn - now
  if wait <= most then
    state.turn = turn
    save()
  end
end
return {{wait, waits[1], waits[2], waits[3], state.tokens, state.spared}}
"""

# ARGV[3]: microseconds of tokens to charge, or below 0 to give back; ARGV[4], ARGV[5]: the ticket.
SETTLE = f"""{_STATE}
local change, at, spared = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if state.tokens == 0 then
  state.tokens = at
end
if change >= 0 then
  state.tokens = state.tokens + change
elseif state.spared >= spared then
  local given = math.max(0, math.min(-change, at - now - (state.spared - spared)))
  state.tokens, state.spared = state.tokens - given, state.spared + given
end
save()
return {{}}
"""

HOLD = f"""{_STATE}
return {{}}
"""
