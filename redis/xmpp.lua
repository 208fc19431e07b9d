#!lua name=xmpp1

--
-- The Functions of ngx_xmpp_module, schema version 1.
--
-- Each is one atomic step on the keys of one account, which share a hash
-- slot.  Library and function names carry the version, so that two releases
-- can share one Redis during a rolling upgrade.  Everything is checked before
-- the first write.  Keys and fields: docs/redis-schema.md.
--
-- A record is a field 'r' .. resource of the sessions hash:
--
--     epoch sid boot state
--
-- where state is a priority, or '-' when the session is not available.  A 'd'
-- before it is kept for sessions without a connection, of later releases.  Two
-- more fields stand beside the records: 'e', the last epoch, and 'n', the
-- number of the last bell.  Each step raises them to the clock at least
-- (Redis's, in microseconds), so they go on upwards when the hash was lost or
-- deleted: a fence or a number that was given once is not given again.
--
-- A bell is a message on the account's channel:
--
--     "1" kind " " number " " previous " " epoch " " targets "\n" body
--
-- with kind m (body: a stanza for the targets, "sid:epoch,sid:epoch"),
-- k (body: a resource that the given epoch holds now: others end), or
-- x (the account was removed: all end).
--


local function clock()
    local t = redis.call('TIME')

    return t[1] * 1000000 + t[2]
end


-- Raises a counter of the sessions hash, to the clock at least: after a
-- failover or a truncated log the last value is one of before, and what came
-- after it was given, too.

local function raise(sessions, field)
    local last = redis.call('HGET', sessions, field)
    local n = clock()

    if last and tonumber(last) >= n then
        n = tonumber(last) + 1
    end

    redis.call('HSET', sessions, field, string.format('%.0f', n))

    return string.format('%.0f', n), last or '0'
end


local function ring(sessions, channel, kind, epoch, targets, body)
    local n, previous = raise(sessions, 'n')

    local count = redis.call('SPUBLISH', channel, '1' .. kind .. ' ' .. n
                             .. ' ' .. previous .. ' ' .. epoch .. ' '
                             .. table.concat(targets, ',') .. '\n' .. body)

    return count, n
end


local function split(record)
    return string.match(record, '^(%d+) (%S+) (%S+) (%S+)$')
end


-- the sessions that chosen(priority or nil) wants, as bell targets

local function targets(sessions, chosen, except)
    local all = redis.call('HGETALL', sessions)
    local list = {}

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' and all[i] ~= except then
            local epoch, sid, _, state = split(all[i + 1])

            if epoch and chosen(tonumber(state)) then
                list[#list + 1] = sid .. ':' .. epoch
            end
        end
    end

    return list
end


local function available(priority)
    return priority ~= nil
end


-- RFC 6121, 8.5.2.1.1: never to a resource of negative priority

local function not_negative(priority)
    return priority ~= nil and priority >= 0
end


-- Which sessions, field's not counted, have to give way so that there are no
-- more than max with one more: detached ones first, then by age.

local function surplus(sessions, field, max)
    local list = {}

    -- the two counters are fields, too

    if redis.call('HLEN', sessions) < max then
        return list
    end

    local all = redis.call('HGETALL', sessions)

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' and all[i] ~= field then
            local epoch, _, _, state = split(all[i + 1])

            list[#list + 1] = {
                field = all[i], epoch = tonumber(epoch) or 0,
                state = state or '-',
                detached = string.sub(state or '', 1, 1) == 'd'
            }
        end
    end

    table.sort(list, function(a, b)
        if a.detached ~= b.detached then
            return a.detached
        end

        return a.epoch < b.epoch
    end)

    for i = #list, math.max(#list - max + 1, 0) + 1, -1 do
        list[i] = nil
    end

    return list
end


local entities = {
    ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ["'"] = '&apos;',
    ['"'] = '&quot;'
}


-- The unavailable stanza of one resource made that of another.  The first
-- slash is that of its from: no bare JID has one, and no resource an "'" that
-- is not escaped.

local function gone_of(gone, field)
    local before, after = string.match(gone, "^([^/]*/)[^']*(.*)$")

    if not before then
        return gone
    end

    return before .. string.gsub(string.sub(field, 2), '[&<>\'"]', entities)
           .. after
end


-- Ends what has held a resource: its workers are told, and the others that
-- are available, except the winner, whose field is except.  Only the winner
-- announces (cluster.md, rule 4).  The record is gone, or the winner's.

local function displace(keys, channel, field, epoch, state, gone, except)
    redis.call('HDEL', keys[3], field)

    local _, number = ring(keys[2], channel, 'k', epoch, {},
                           string.sub(field, 2))

    if string.sub(state, -1) ~= '-' then
        local list = targets(keys[2], available, except)

        if #list > 0 then
            _, number = ring(keys[2], channel, 'm', '0', list, gone)
        end
    end

    return number
end


-- What belongs to no account ends by itself, unless its sessions go on.

local function expire(keys, lifetime)
    if lifetime > 0 then
        redis.call('EXPIRE', keys[2], lifetime)
        redis.call('EXPIRE', keys[3], lifetime)
    end
end


--
-- Binds a resource, or puts a lost record back.  An account that has max
-- sessions gets one more all the same, and the first of surplus() ends: a
-- client that comes back under ever new names must not lock its user out.
--
-- keys: account, sessions, presence
-- args: channel, resource, sid, boot, epoch (0: a new one), state,
--       max, the unavailable stanza of this resource,
--       lifetime (seconds; 0: an account's, which has to exist)
-- returns: { 'ok', number of the last bell, epoch }, { 'none' } when there
--          is no such account, { 'conflict', '0', epoch } when fenced
--
local function bind(keys, args)
    local channel, resource, sid = args[1], args[2], args[3]
    local boot, mine, state = args[4], tonumber(args[5]), args[6]
    local lifetime = tonumber(args[9] or '0')
    local field = 'r' .. resource

    if lifetime == 0 and redis.call('EXISTS', keys[1]) == 0 then
        return { 'none' }
    end

    local old = redis.call('HGET', keys[2], field)
    local epoch, number, last

    if mine == 0 then
        -- a repeat of this very command finds its own record

        if old then
            local e, s = split(old)

            if s == sid then
                expire(keys, lifetime)
                return { 'ok', redis.call('HGET', keys[2], 'n') or '0', e }
            end
        end

        last = surplus(keys[2], field, tonumber(args[7]))
        epoch = raise(keys[2], 'e')

    else
        -- what is not lost stays: a presence under way is newer than state

        if old then
            local e, s = split(old)

            if tonumber(e) > mine then
                return { 'conflict', '0', e }
            end

            if tonumber(e) == mine and s == sid then
                expire(keys, lifetime)
                return { 'ok', redis.call('HGET', keys[2], 'n') or '0', e }
            end
        end

        -- the record may be missing because it had to give way

        last = surplus(keys[2], field, tonumber(args[7]))

        for i = 1, #last do
            if last[i].epoch > mine and not last[i].detached then
                return { 'conflict', '0', string.format('%.0f', last[i].epoch) }
            end
        end

        epoch = args[5]

        local e = redis.call('HGET', keys[2], 'e')

        if not e or tonumber(e) < mine then
            redis.call('HSET', keys[2], 'e', epoch)
        end
    end

    redis.call('HSET', keys[2], field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state)

    number = redis.call('HGET', keys[2], 'n') or '0'

    if old then
        local e, s, _, st = split(old)

        if s ~= sid then
            number = displace(keys, channel, field, epoch, st, args[8], field)
        end
    end

    for i = 1, #last do
        redis.call('HDEL', keys[2], last[i].field)
    end

    for i = 1, #last do
        number = displace(keys, channel, last[i].field, epoch, last[i].state,
                          gone_of(args[8], last[i].field), field)
    end

    expire(keys, lifetime)

    return { 'ok', number, epoch }
end


--
-- Presence of a session: initial, changed or unavailable (RFC 6121, 4.2,
-- 4.4, 4.5), to the account's own available sessions.
--
-- keys: account, sessions, presence
-- args: channel, resource, sid, epoch, state, stanza, initial (0 or 1),
--       lifetime (as of bind)
-- returns: { 'ok', number, presence of the others ... }, { 'conflict' }
--
local function presence(keys, args)
    local field = 'r' .. args[2]
    local record = redis.call('HGET', keys[2], field)
    local reply = { 'ok', '0' }
    local list

    if not record then
        return { 'conflict' }
    end

    local epoch, sid, boot = split(record)

    if sid ~= args[3] or epoch ~= args[4] then
        return { 'conflict' }
    end

    redis.call('HSET', keys[2], field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. args[5])

    if args[5] == '-' then
        redis.call('HDEL', keys[3], field)
    else
        redis.call('HSET', keys[3], field, args[6])
    end

    expire(keys, tonumber(args[8] or '0'))

    list = targets(keys[2], available)

    if #list > 0 then
        local _, number = ring(keys[2], args[1], 'm', '0', list, args[6])
        reply[2] = number
    end

    if args[7] == '1' then
        local all = redis.call('HGETALL', keys[3])

        for i = 1, #all, 2 do
            if all[i] ~= field then
                reply[#reply + 1] = all[i + 1]
            end
        end
    end

    return reply
end


--
-- Ends a session.
--
-- keys: account, sessions, presence
-- args: channel, resource, sid, epoch (0: not known, the answer to bind was
--       lost), its unavailable stanza
-- returns: { 'ok' } or { 'conflict' }: another holds the resource
--
local function unbind(keys, args)
    local field = 'r' .. args[2]
    local record = redis.call('HGET', keys[2], field)

    if not record then
        return { 'conflict' }
    end

    local epoch, sid, _, state = split(record)

    if sid ~= args[3] or (args[4] ~= '0' and epoch ~= args[4]) then
        return { 'conflict' }
    end

    redis.call('HDEL', keys[2], field)
    redis.call('HDEL', keys[3], field)

    if state ~= '-' then
        local list = targets(keys[2], available)

        if #list > 0 then
            ring(keys[2], args[1], 'm', '0', list, args[5])
        end
    end

    -- Without records only the two counters are left.  The clock has them,
    -- unless it went back meanwhile.

    if redis.call('HLEN', keys[2]) <= 2 then
        local all = redis.call('HGETALL', keys[2])
        local now = clock()

        for i = 1, #all, 2 do
            if string.sub(all[i], 1, 1) == 'r'
               or tonumber(all[i + 1]) >= now
            then
                return { 'ok' }
            end
        end

        redis.call('DEL', keys[2])
    end

    return { 'ok' }
end


-- RFC 6121, 8.5.3: who gets a stanza for a full JID; nil: nobody

local function to_full(sessions, kind, resource)
    local record = redis.call('HGET', sessions, 'r' .. resource)

    if record then
        local epoch, sid = split(record)

        return { sid .. ':' .. epoch }
    end

    -- 8.5.3.2.1: chat without a match goes as to the bare JID

    if kind == 'c' then
        return targets(sessions, not_negative)
    end

    return {}
end


-- RFC 6121, 8.5.2: who gets a stanza for a bare JID

local function to_bare(sessions, kind)
    if kind == 'p' then
        return targets(sessions, available)
    end

    if kind == 'c' or kind == 'n' or kind == 'h' then
        return targets(sessions, not_negative)
    end

    return {}
end


--
-- Routes one stanza to one account (RFC 6121, 8.5).
--
-- Its identity, the sending session and its counter, is remembered for a
-- while, so that a repeat of this command is answered as the first was and
-- rings nothing (cluster.md, rule 2).  A record without a subscriber is not
-- an absent session (rule 1): the sender's worker asks again.
--
-- keys: account, sessions, seen of this period, seen of the one before
-- args: channel, sid, counter, kind (c n h g e p i), resource, stanza
-- returns: { outcome, number of the bell }, outcome 'ok', 'none' or 'busy'
--
local function route(keys, args)
    local sid, counter, kind = args[2], args[3], args[4]
    local list

    local seen = redis.call('HGET', keys[3], sid)
                 or redis.call('HGET', keys[4], sid)

    if seen then
        local last, number = string.match(seen, '^(%d+) (%d+)$')

        if last and tonumber(last) >= tonumber(counter) then
            return { 'ok', number }
        end
    end

    if args[5] ~= '' then
        list = to_full(keys[2], kind, args[5])
    else
        list = to_bare(keys[2], kind)
    end

    if #list == 0 then
        return { 'none', '0' }
    end

    -- the inbox's XADD stands here, before the bell, once there is one

    local count, number = ring(keys[2], args[1], 'm', '0', list, args[6])

    if count == 0 then
        return { 'busy', number }
    end

    if redis.call('HSET', keys[3], sid, counter .. ' ' .. number) == 1 then
        redis.call('EXPIRE', keys[3], 1800)
    end

    return { 'ok', number }
end


--
-- Removes an account: its sessions end on every worker.
--
-- keys: account, sessions, presence
-- args: channel
-- returns: 1 when it existed
--
local function remove(keys, args)
    local n = redis.call('DEL', keys[1])

    ring(keys[2], args[1], 'x', '0', {}, '')
    redis.call('DEL', keys[2], keys[3])

    return n
end


--
-- Counts one failed login, of an address and of an account.  All counters
-- live and die together: the first one begins a window of time.  Strangers
-- choose the names, so there is a bound, beyond which only what is there
-- already is counted.
--
-- keys: failures
-- args: seconds of a window, how many counters there may be, counter of the
--       address, counter of the account; either may be empty
-- returns: { 'ok', count, count }, 0 for what was not counted
--
local function failed(keys, args)
    local room = tonumber(args[2]) - redis.call('HLEN', keys[1])
    local reply = { 'ok', 0, 0 }

    for i = 1, 2 do
        local name = i == 1 and args[3] or args[4]

        if name ~= '' then
            local new = redis.call('HEXISTS', keys[1], name) == 0

            if not new or room > 0 then
                reply[1 + i] = redis.call('HINCRBY', keys[1], name, 1)
                room = new and room - 1 or room
            end
        end
    end

    if redis.call('TTL', keys[1]) == -1 then
        redis.call('EXPIRE', keys[1], args[1])
    end

    return reply
end


--
-- Remembers the network that an account has logged in from, as HASH:DAY in a
-- list, the last one first; those that are too old or too many are dropped.
--
-- keys: account
-- args: hash, day, days after which one is too old
-- returns: { 'ok' }, { 'none' } when there is no such account
--
local function known(keys, args)
    local list = { args[1] .. ':' .. args[2] }

    if redis.call('EXISTS', keys[1]) == 0 then
        return { 'none' }
    end

    local old = redis.call('HGET', keys[1], 'known') or ''
    local oldest = tonumber(args[2]) - tonumber(args[3])

    for hash, day in string.gmatch(old, '(%x+):(%d+)') do
        if hash ~= args[1] and tonumber(day) >= oldest and #list < 16 then
            list[#list + 1] = hash .. ':' .. day
        end
    end

    redis.call('HSET', keys[1], 'known', table.concat(list, ' '))

    return { 'ok' }
end


redis.register_function('xmpp1_bind', bind)
redis.register_function('xmpp1_presence', presence)

-- these free memory: a full Redis must not stop them (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_unbind', callback = unbind,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_remove', callback = remove,
                         flags = { 'allow-oom' } }
redis.register_function('xmpp1_route', route)
redis.register_function('xmpp1_failed', failed)
redis.register_function('xmpp1_known', known)
