--
-- What an administrator asks for, by xmppctl or by ad-hoc commands.
--


-- Rings for the records of one resource, or of all of them; how many sessions
-- that are, and how many workers heard of it.

local function end_sessions(sessions, channel, resource, reason)
    local all = redis.call('HGETALL', sessions)
    local list = {}

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r'
           and (resource == '' or all[i] == 'r' .. resource)
        then
            local epoch, sid = split(all[i + 1])

            if epoch then
                list[#list + 1] = sid .. ':' .. epoch
            end
        end
    end

    if #list == 0 then
        return 0, 0
    end

    return #list, (ring(sessions, channel, 'e', '0', list, reason))
end


--
-- Ends sessions: whoever holds them closes their streams, and they end as they
-- do otherwise.  Their records are left to that.
--
-- keys: sessions
-- args: channel, resource (empty: all of them)
-- returns: { 'ok', how many sessions, how many workers heard of it };
--          { 'none' } when there is no such session
--
local function kick(keys, args)
    local n, heard = end_sessions(keys[1], args[1], args[2], '')

    if n == 0 then
        return { 'none' }
    end

    return { 'ok', n, heard }
end


--
-- Disables an account, or enables it again.  Who logs in looks at the field
-- together with the keys; whoever did so before it was written is refused at
-- binding.  Its sessions end as they do by kick.  May be repeated.
--
-- keys: account, sessions
-- args: channel, date of now (empty: it is enabled again)
-- returns: { 'ok', how many sessions, how many workers heard of it };
--          { 'none' } when there is no such account
--
local function disable(keys, args)
    if redis.call('EXISTS', keys[1]) == 0 then
        return { 'none' }
    end

    if args[2] == '' then
        redis.call('HDEL', keys[1], 'disabled')
        return { 'ok', 0, 0 }
    end

    if redis.call('HEXISTS', keys[1], 'disabled') == 0 then
        redis.call('HSET', keys[1], 'disabled', args[2])
    end

    return { 'ok', end_sessions(keys[2], args[1], '', 'disabled') }
end


--
-- Makes an account, or changes the keys of one.  Whoever makes one puts it on
-- the list of its domain before.  A repeat finds its own keys, with salts that
-- nobody else has.  What digest-md5 has is of an old password.
--
-- keys: account, removed
-- args: date of now (empty: there is one, to be changed), then fields and
--       values, the keys; none: it only tells what would be
-- returns: { 'ok' }; { 'conflict' } when there is one; { 'none' } when there
--          is none; { 'busy' } when contacts have not heard yet that the last
--          one of this name has gone
--
local function account(keys, args)
    local exists = redis.call('EXISTS', keys[1]) == 1

    if args[1] == '' and not exists then
        return { 'none' }
    end

    if args[1] ~= '' and exists
       and not (args[2] and redis.call('HGET', keys[1], args[2]) == args[3])
    then
        return { 'conflict' }
    end

    if not exists and redis.call('EXISTS', keys[2]) == 1 then
        return { 'busy' }
    end

    if not args[2] then
        return { 'ok' }
    end

    if not exists then
        redis.call('HSET', keys[1], 'created', args[1])
    end

    redis.call('HDEL', keys[1], 'digest-md5')

    for i = 2, #args, 2 do
        redis.call('HSET', keys[1], args[i], args[i + 1])
    end

    return { 'ok' }
end


redis.register_function('xmpp1_account', account)
redis.register_function('xmpp1_kick', kick)
redis.register_function('xmpp1_disable', disable)
