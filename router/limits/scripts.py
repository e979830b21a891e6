"""The scripts that the Redis store runs on the server: one, and so one round trip, per operation.

Amounts travel and are compared as decimal text, and are added by INCRBY, which counts in 64 bits:
Lua's own numbers would round above $9,007. Every key holds `{intellirouter}`, so that a cluster
keeps them together.
"""

from __future__ import annotations

from router.limits.counters import SLOTS

_COMMON = f"""
local SLOTS = {SLOTS}
local function exceeds(left, right)
    local is_negative, other_is_negative = left:sub(1, 1) == '-', right:sub(1, 1) == '-'
    if is_negative ~= other_is_negative then return other_is_negative end
    if is_negative then left, right = right:sub(2), left:sub(2) end
    if #left ~= #right then return #left > #right end
    return left > right
end
local function now_us(given)
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local function lacks_opening(first)
    for index = first, #KEYS do
        if redis.call('EXISTS', KEYS[index]) == 0 then return true end
    end
    return false
end
"""

TAKE = (
    _COMMON
    + """
-- KEYS: rates, accounts, markers. ARGV: clock, rates, accounts, then limit, window and amount of each rate.
local now, rates, accounts = now_us(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if lacks_opening(rates + accounts + 1) then return {'open'} end
local found, left, refused, wait = {}, {}, -1, -1
for index = 1, rates do
    local limit, window = tonumber(ARGV[3 * index + 1]), tonumber(ARGV[3 * index + 2])
    local amount = tonumber(ARGV[3 * index + 3])
    local width = window / SLOTS
    local slot = math.floor(now / width)
    local used, total, moved, stale = {}, 0, 0, {}
    local fields = redis.call('HGETALL', KEYS[index])
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
    if #stale > 0 then redis.call('HDEL', KEYS[index], unpack(stale)) end
    if moved > 0 then
        redis.call('HINCRBY', KEYS[index], slot, string.format('%.0f', moved))
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
if refused >= 0 then return {'refused', refused, wait, left} end
for index = 1, rates do
    local slot, amount, kept_ms = unpack(found[index])
    redis.call('HINCRBY', KEYS[index], slot, string.format('%.0f', amount))
    redis.call('PEXPIRE', KEYS[index], kept_ms)
    left[index] = left[index] - amount
end
local charged = {}
for index = 1, accounts do
    charged[index] = redis.call('GET', KEYS[rates + index]) or '0'
end
return {'taken', string.format('%.0f', now), left, charged}
"""
)

RESERVE = (
    _COMMON
    + """
-- KEYS: the reservation, accounts, markers. ARGV: amount, accounts, then limit (or '') and expiry of each.
local amount, accounts = ARGV[1], tonumber(ARGV[2])
if lacks_opening(accounts + 2) then return {'open'} end
local held = redis.call('GET', KEYS[1]) or '0'
if held == 'settled' then held = '0' end
local is_more, refused, charged, passed = exceeds(amount, held), -1, {}, 0
for index = 1, accounts do
    local key, limit = KEYS[index + 1], ARGV[2 * index + 1]
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
        redis.call('DECRBY', KEYS[index + 1], amount)
        redis.call('INCRBY', KEYS[index + 1], held)
    end
else
    redis.call('SET', KEYS[1], amount, 'EX', 86400)
end
for index = 1, accounts do
    redis.call('EXPIREAT', KEYS[index + 1], ARGV[2 * index + 2])
    charged[index] = redis.call('GET', KEYS[index + 1]) or '0'
end
return {'reserved', refused, charged}
"""
)

SETTLE = (
    _COMMON
    + """
-- KEYS: the reservation, accounts, markers, rates. ARGV: cost (or ''), clock of the admission, accounts,
-- then window and correction of each rate.
local cost, at, accounts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if accounts > 0 then
    local held = redis.call('GET', KEYS[1])
    -- A settled reservation is kept for a minute: asked twice, this charges once.
    if held ~= 'settled' then
        redis.call('SET', KEYS[1], 'settled', 'EX', 60)
        for index = 1, accounts do
            local is_opened = redis.call('EXISTS', KEYS[1 + accounts + index]) == 1
            -- Without its marker the account is opened from the records, of which this is one.
            if cost ~= '' and is_opened then
                redis.call('INCRBY', KEYS[1 + index], cost)
                if held then redis.call('DECRBY', KEYS[1 + index], held) end
            end
        end
    end
end
for index = 1, #KEYS - 2 * accounts - 1 do
    local key = KEYS[1 + 2 * accounts + index]
    local slot = math.floor(at / (tonumber(ARGV[2 * index + 2]) / SLOTS))
    local count = redis.call('HGET', key, slot)
    if count then
        local correction = math.max(tonumber(ARGV[2 * index + 3]), -tonumber(count))
        redis.call('HINCRBY', key, slot, string.format('%.0f', correction))
    end
end
return {'settled'}
"""
)

OPEN = """
-- KEYS: a marker, accounts. ARGV: expiry, then the amount of each account.
for index = 2, #KEYS do
    if redis.call('SET', KEYS[index], ARGV[index], 'NX') then redis.call('EXPIREAT', KEYS[index], ARGV[1]) end
end
redis.call('SET', KEYS[1], '1')
redis.call('EXPIREAT', KEYS[1], ARGV[1])
return {'opened'}
"""
