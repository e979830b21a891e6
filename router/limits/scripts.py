"""The scripts that the Redis store runs on the server: one, and so one round trip, per operation.

Amounts travel and are compared as decimal text, and are added by INCRBY, which counts in 64 bits:
Lua's own numbers would round above $9,007. Every key holds `{intellirouter}`, so that a cluster
keeps them together.

Each script first looks at the epoch. It does nothing in another one than the caller's, or where Redis lost
calls of this process that it had answered: then the caller joins the new epoch (see `epochs`). The epoch's
name ends in `?` while hosts still report.
"""

from __future__ import annotations

from router.limits.counters import SLOTS
from router.limits.periods import DAY_S

KEPT_S = 40 * DAY_S
"""An epoch without a process is forgotten after this time: no period is longer."""

_ENTER = """
-- KEYS of each script: the epoch, this process's calls, then its own.
-- ARGV of each script: the epoch, the calls that were answered, then its own.
local epoch = redis.call('GET', KEYS[1])
local is_whole = epoch == ARGV[1]
if not is_whole and epoch ~= ARGV[1] .. '?' then return {'epoch', 0} end
local calls = redis.call('INCR', KEYS[2])
if calls <= tonumber(ARGV[2]) then
    redis.call('DEL', KEYS[2])
    return {'lost', 0}
end
"""

_NOW = """
local function now_us(given)
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
"""

_EXCEEDS = """
local function exceeds(left, right)
    local is_negative, other_is_negative = left:sub(1, 1) == '-', right:sub(1, 1) == '-'
    if is_negative ~= other_is_negative then return other_is_negative end
    if is_negative then left, right = right:sub(2), left:sub(2) end
    if #left ~= #right then return #left > #right end
    return left > right
end
"""

TAKE = (
    _ENTER
    + _NOW
    + f"local SLOTS = {SLOTS}"
    + """
-- KEYS: rates, accounts. ARGV: clock (or ''), then limit, window and amount of each rate.
local now, rates = now_us(ARGV[3]), (#ARGV - 3) / 3
local found, left, refused, wait = {}, {}, -1, -1
for index = 1, rates do
    local limit, window = tonumber(ARGV[3 * index + 1]), tonumber(ARGV[3 * index + 2])
    local amount = tonumber(ARGV[3 * index + 3])
    local key = KEYS[2 + index]
    local width = window / SLOTS
    local slot = math.floor(now / width)
    local used, total, moved, stale = {}, 0, 0, {}
    local fields = redis.call('HGETALL', key)
    for at = 1, #fields, 2 do
        local name, count = tonumber(fields[at]), tonumber(fields[at + 1])
        if name > slot then
            -- The clock was set back: what is counted is dated now, so that nothing more is admitted
            -- for it, and it is forgotten one window from now at the latest.
            moved = moved + count
            stale[#stale + 1] = fields[at]
        elseif name < slot - SLOTS then
            stale[#stale + 1] = fields[at]
        else
            used[#used + 1] = {name, count}
            total = total + count
        end
    end
    if #stale > 0 then redis.call('HDEL', key, unpack(stale)) end
    if moved > 0 then
        redis.call('HINCRBY', key, slot, string.format('%.0f', moved))
        used[#used + 1] = {slot, moved}
        total = total + moved
    end
    left[index] = math.max(limit - total, 0)
    found[index] = {slot, amount, math.ceil(window / 1000 * (SLOTS + 1) / SLOTS)}
    if refused < 0 and total + amount > limit then
        refused = index - 1
        table.sort(used, function(one, other) return one[1] < other[1] end)
        local free = limit - total
        for _, item in ipairs(used) do
            free = free + item[2]
            if free >= amount then
                wait = math.max(math.ceil((item[1] + SLOTS + 1) * width - now), 0)
                break
            end
        end
    end
end
if refused >= 0 then return {'refused', calls, refused, wait, left} end
for index = 1, rates do
    local slot, amount, kept_ms = unpack(found[index])
    redis.call('HINCRBY', KEYS[2 + index], slot, string.format('%.0f', amount))
    redis.call('PEXPIRE', KEYS[2 + index], kept_ms)
    left[index] = left[index] - amount
end
local charged = {}
for index = 1, #KEYS - 2 - rates do
    charged[index] = redis.call('GET', KEYS[2 + rates + index]) or '0'
end
return {'taken', calls, string.format('%.0f', now), left, charged, is_whole and 0 or 1}
"""
)

RESERVE = (
    _ENTER
    + _EXCEEDS
    + """
-- KEYS: the reservation, accounts. ARGV: amount, then limit (or '') and expiry of each account.
local amount, accounts = ARGV[3], #KEYS - 3
local held = redis.call('GET', KEYS[3]) or '0'
if held == 'settled' then held = '0' end
local is_more, refused, charged, passed = exceeds(amount, held), -1, {}, 0
if is_more and not is_whole then
    for index = 1, accounts do
        if ARGV[2 * index + 2] ~= '' then return {'partial', calls} end
    end
end
for index = 1, accounts do
    local key, limit = KEYS[index + 3], ARGV[2 * index + 2]
    redis.call('INCRBY', key, amount)
    redis.call('DECRBY', key, held)
    passed = index
    if is_more and limit ~= '' and exceeds(redis.call('GET', key), limit) then
        refused = index - 1
        break
    end
end
if refused >= 0 then
    for index = 1, passed do
        redis.call('DECRBY', KEYS[index + 3], amount)
        redis.call('INCRBY', KEYS[index + 3], held)
    end
else
    redis.call('SET', KEYS[3], amount, 'EX', 86400)
end
for index = 1, accounts do
    redis.call('EXPIREAT', KEYS[index + 3], ARGV[2 * index + 3])
    charged[index] = redis.call('GET', KEYS[index + 3]) or '0'
end
return {'reserved', calls, refused, charged}
"""
)

SETTLE = (
    _ENTER
    + f"local SLOTS, KEPT_S = {SLOTS}, {KEPT_S}"
    + """
-- KEYS: the reservation, accounts, rates. ARGV: cost (or ''), whether an unknown reservation is charged,
-- clock of the admission, then window and correction of each rate.
local cost, at, rates = ARGV[3], tonumber(ARGV[5]), (#ARGV - 5) / 2
local accounts = #KEYS - 3 - rates
if accounts > 0 then
    local held = redis.call('GET', KEYS[3])
    -- A settled reservation is kept for a minute: asked twice, this charges once.
    if held ~= 'settled' then
        redis.call('SET', KEYS[3], 'settled', 'EX', 60)
        -- A reservation of an earlier epoch that this one does not know had its record by then: its host
        -- reported the cost with the others.
        for index = 1, (cost ~= '' and (held or ARGV[4] == '1')) and accounts or 0 do
            local key = KEYS[3 + index]
            redis.call('INCRBY', key, cost)
            if held then
                redis.call('DECRBY', key, held)
            elseif redis.call('TTL', key) < 0 then
                redis.call('EXPIRE', key, KEPT_S)
            end
        end
    end
end
for index = 1, rates do
    local key = KEYS[3 + accounts + index]
    local slot = math.floor(at / (tonumber(ARGV[2 * index + 4]) / SLOTS))
    local count = redis.call('HGET', key, slot)
    if count then
        local correction = math.max(tonumber(ARGV[2 * index + 5]), -tonumber(count))
        redis.call('HINCRBY', key, slot, string.format('%.0f', correction))
    end
end
return {'settled', calls}
"""
)

BEGIN = (
    _NOW
    + """
-- KEYS: the epoch, its birth. ARGV: a new id, the epoch that lost data (or ''), a clock (or ''), expiry.
local id = redis.call('GET', KEYS[1])
if not id or (ARGV[2] ~= '' and id:gsub('?', '') == ARGV[2]) then
    id = ARGV[1] .. '?'
    redis.call('SET', KEYS[1], id)
    redis.call('SET', KEYS[2], string.format('%.0f', now_us(ARGV[3])))
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return id
"""
)

COMPLETE = (
    _ENTER
    + _NOW
    + """
-- Whether every host has reported. KEYS: the birth of the epoch, hosts that have yet to report.
-- ARGV: a clock (or ''), how long hosts may make contact.
if is_whole then return {'whole', calls} end
local now, hosts = now_us(ARGV[3]), 0
local born = tonumber(redis.call('GET', KEYS[3]) or now)
if born > now then  -- the clock was set back
    born = now
    redis.call('SET', KEYS[3], string.format('%.0f', now), 'KEEPTTL')
end
for _, moment in ipairs(redis.call('HVALS', KEYS[4])) do
    if tonumber(moment) > now then hosts = hosts + 1 end
end
local wait = math.max(born + tonumber(ARGV[4]) - now, 0)
if wait > 0 or hosts > 0 then return {'partial', calls, wait, hosts} end
redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
return {'whole', calls}
"""
)

CONTACT = (
    _ENTER
    + _NOW
    + """
-- KEYS: the birth of the epoch, hosts that have yet to report, hosts that reported, hosts and when they were
-- seen. ARGV: a clock (or ''), this host, how long hosts are waited for, expiry, budgets, each of them, then
-- each host that this one knows and when it was seen.
local now, host, known_us, budgets = now_us(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local function wait_for(name, seen)
    local moment, before = seen + known_us, tonumber(redis.call('HGET', KEYS[4], name) or 0)
    if redis.call('SISMEMBER', KEYS[5], name) == 0 and moment > math.max(before, now) then
        redis.call('HSET', KEYS[4], name, string.format('%.0f', moment))
    end
end
if not is_whole then
    wait_for(host, now)
    for index = 8 + budgets, #ARGV, 2 do wait_for(ARGV[index], tonumber(ARGV[index + 1])) end
end
redis.call('HSET', KEYS[6], host, string.format('%.0f', now))
local hosts = redis.call('HGETALL', KEYS[6])
for index = 1, #hosts, 2 do
    if tonumber(hosts[index + 1]) + known_us < now then redis.call('HDEL', KEYS[6], hosts[index]) end
end
for index = 1, 6 do redis.call('EXPIRE', KEYS[index], ARGV[6]) end
local unopened = {}
for index = 8, 7 + budgets do
    if redis.call('SISMEMBER', KEYS[5], host .. ' ' .. ARGV[index]) == 0 then
        unopened[#unopened + 1] = ARGV[index]
    end
end
return {'contact', calls, redis.call('SISMEMBER', KEYS[5], host), unopened, hosts,
    redis.call('GET', KEYS[3]) or now, is_whole and 1 or 0}
"""
)

OPEN_REQUESTS = (
    _ENTER
    + """
-- Charge the worst cases of requests in flight. KEYS: each reservation, with its accounts.
-- ARGV: of each reservation its amount and the number of accounts, then the expiry of each account.
local key, argument = 3, 3
while argument <= #ARGV do
    local amount, accounts = ARGV[argument], tonumber(ARGV[argument + 1])
    -- One that is there was charged by an earlier try.
    local is_new = redis.call('SET', KEYS[key], amount, 'NX', 'EX', 86400)
    for index = 1, is_new and accounts or 0 do
        redis.call('INCRBY', KEYS[key + index], amount)
        redis.call('EXPIREAT', KEYS[key + index], ARGV[argument + 1 + index])
    end
    key, argument = key + 1 + accounts, argument + 2 + accounts
end
return {'opened', calls}
"""
)

OPEN_ACCOUNTS = (
    _ENTER
    + _EXCEEDS
    + """
-- Charge the spend of a host or a lake. KEYS: its amounts so far, accounts. ARGV: expiry of the amounts, then
-- amount and expiry of each account.
for index = 1, #KEYS - 3 do
    local key, amount = KEYS[3 + index], ARGV[2 * index + 2]
    local before = redis.call('HGET', KEYS[3], key) or '0'
    if exceeds(amount, before) then  -- else an earlier try charged it, or a host of the same lake
        redis.call('INCRBY', key, amount)
        redis.call('DECRBY', key, before)
        redis.call('EXPIREAT', key, ARGV[2 * index + 3])
        redis.call('HSET', KEYS[3], key, amount)
    end
end
redis.call('EXPIRE', KEYS[3], ARGV[3])
return {'opened', calls}
"""
)

REPORTED = (
    _ENTER
    + """
-- KEYS: hosts that have yet to report, hosts that reported, the host's amounts so far.
-- ARGV: the host, expiry, then each budget.
local host = ARGV[3]
redis.call('SADD', KEYS[4], host)
for index = 5, #ARGV do redis.call('SADD', KEYS[4], host .. ' ' .. ARGV[index]) end
redis.call('EXPIRE', KEYS[4], ARGV[4])
redis.call('HDEL', KEYS[3], host)
redis.call('UNLINK', KEYS[5])
return {'reported', calls}
"""
)
