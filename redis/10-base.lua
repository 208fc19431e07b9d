#!lua name=xmpp1

--
-- The Functions of ngx_xmpp_module, schema version 1: one library, made of the
-- files here in the order of their names.  This one has what the others share.
--
-- Each is one atomic step on the keys of one account, which share a hash
-- slot.  Library and function names carry the version, so that two releases
-- can share one Redis during a rolling upgrade.  Everything is checked before
-- the first write.  Keys and fields: docs/redis-schema.md.
--
-- A record is a field 'r' .. resource of the sessions hash:
--
--     epoch sid boot state flags
--
-- where state is a priority, or '-' when the session is not available.  flags
-- are letters, of what the client has asked for that concerns routing, and 'd'
-- for a session that has no connection and waits for it; '-' is none of them.
--
-- Field 'b' stands beside the records when the account has a block list
-- (redis/12-blocked.lua), 'c' when a session has asked for carbons
-- (redis/16-carbon.lua), 'i' when the inbox holds anything
-- (redis/19-inbox.lua), and two more: 'e', the last epoch, and 'n', the
-- number of the last bell.  Each step raises them to the clock at least
-- (Redis's, in microseconds), so they go on upwards when the hash was lost or
-- deleted: a fence or a number that was given once is not given again.
--
-- A bell is a message on the account's channel:
--
--     "1" kind " " number " " previous " " epoch " " targets "\n" body
--
-- with kind m (body: a stanza for the targets, "sid:epoch,sid:epoch", or more
-- than one, when the targets are followed by " " lengths "," between; behind
-- an epoch stands 'r' or 's' when the target gets a carbon, of what the user
-- received or sent),
-- i (as m, and the inbox has them: an entry of that number for each),
-- o (the inbox has something for the targets),
-- c (the targets are all sessions that have asked for carbons),
-- k (body: a resource that the given epoch holds now: others end),
-- x (the account was removed: all end),
-- p (body: a bare JID that gets the presence of the targets from now on),
-- b (the block list has changed; body: an element for the targets, who are
-- sent it in an iq, a line feed, the list as lines),
-- e (an administrator ends the targets),
-- h (body: a sid, and the boot id of the worker that has taken this session
-- over, with the given epoch, and "-" when it has no client: who had it writes
-- what belongs to it), or
-- s (body: a sid; that was written, for the holder of the given epoch).
--


-- Redis's clock in microseconds, as a string: to print a number of that size
-- costs as much as a command.

local zeros = { '00000', '0000', '000', '00', '0', '' }

local function clock()
    local t = redis.call('TIME')

    return t[1] .. zeros[#t[2]] .. t[2]
end


-- The number after last, and the clock at least: after a failover or a
-- truncated log the last value is one of before, and what came after it was
-- given, too.

local function number_after(last)
    local now = clock()

    -- of the same length, they compare as strings do

    if not last or #last < #now or (#last == #now and last < now) then
        return now
    end

    return string.format('%.0f', tonumber(last) + 1)
end


-- raises a counter of the sessions hash

local function raise(sessions, field)
    local n = number_after(redis.call('HGET', sessions, field))

    redis.call('HSET', sessions, field, n)

    return n
end


-- How many heard it; or, if the user may not publish on that channel, nil and
-- the error.

local function publish(channel, kind, n, previous, epoch, targets, body)
    local count = redis.pcall('SPUBLISH', channel, '1' .. kind .. ' ' .. n
                              .. ' ' .. previous .. ' ' .. epoch .. ' '
                              .. targets .. '\n' .. body)

    if type(count) == 'table' then
        return nil, count
    end

    return count
end


local function ring(sessions, channel, kind, epoch, targets, body)
    local last = redis.call('HGET', sessions, 'n')
    local n = number_after(last)
    local count, err = publish(channel, kind, n, last or '0', epoch,
                               table.concat(targets, ','), body)

    if not count then
        error(err)
    end

    redis.call('HSET', sessions, 'n', n)

    return count, n
end


-- Whether an account is the one that somebody has logged in to, by the digits
-- of its date as the worker has them (ngx_xmpp_store_login.c): the name may
-- have another owner by now.  No digits, or 0: whoever has it.

local function same_account(account, created)
    if not created or created == '0' then
        return true
    end

    local date = redis.call('HGET', account, 'created') or ''

    return string.sub(string.gsub(date, '%D', ''), 1, 14) == created
end


local function split(record)
    return string.match(record, '^(%d+) (%S+) (%S+) (%S+) (%S+)$')
end


-- Whether the record of a resource is that of this session, and the rest of it.

local function mine(sessions, resource, sid, epoch)
    local e, s, boot, state, flags =
        split(redis.call('HGET', sessions, 'r' .. resource) or '')

    return s == sid and e == epoch, boot, state, flags
end


-- The sessions that chosen(priority or nil, flags) wants, as bell targets; the
-- number of the last bell, whether there is a block list, fields 'c' and 'i',
-- and the hash itself: whoever needs them reads it once.

local function targets(sessions, chosen, except)
    local all = redis.call('HGETALL', sessions)
    local list, last, blocking, asked, held = {}, nil, nil, nil, nil

    for i = 1, #all, 2 do
        if all[i] == 'n' then
            last = all[i + 1]

        elseif all[i] == 'b' then
            blocking = true

        elseif all[i] == 'c' then
            asked = all[i + 1]

        elseif all[i] == 'i' then
            held = all[i + 1]

        elseif string.sub(all[i], 1, 1) == 'r' and all[i] ~= except then
            local epoch, sid, _, state, flags = split(all[i + 1])

            if epoch and chosen(tonumber(state), flags) then
                list[#list + 1] = sid .. ':' .. epoch
            end
        end
    end

    return list, last, blocking, asked, held, all
end


local function available(priority)
    return priority ~= nil
end


-- RFC 6121, 8.5.2.1.1: never to a resource of negative priority

local function not_negative(priority)
    return priority ~= nil and priority >= 0
end


-- another key of the account whose sessions these are

local function beside(sessions, name)
    return string.sub(sessions, 1, -1 - #'sessions') .. name
end


-- What is kept for an address for the time being ends with its sessions, whose
-- key has a lifetime then.

local function ends_with(sessions, key)
    local ttl = redis.call('TTL', sessions)

    if ttl > 0 then
        redis.call('EXPIRE', key, ttl)
    end
end
