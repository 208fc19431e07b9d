--
-- Accounts, but for their sessions: failed logins, known networks, removal.
-- ngx_xmpp_module/store/ngx_xmpp_store_login.c and xmppctl call them.
--


-- the last parts of an account's keys, beside account, sessions and removed

local removed = { 'presence', 'roster', 'requests', 'blocked', 'private',
                  'vcard', 'inbox', 'archive', 'archived', 'archiving' }


-- What an account's contacts have to hear of its end goes to key removed, for
-- whoever calls xmpp1_remove to tell them, each in his slot: 'r' .. resource,
-- available; 'i' .. bare JID: the state of the subscription.  Who repeats the
-- removal tells them again.  Field 'x' keeps the key, and with it the name,
-- until the removal is complete.

local function bequeath(base, existed)
    local list = existed and { 'x', '' } or {}
    local all = redis.call('HKEYS', base .. 'presence')

    for i = 1, #all do
        list[#list + 1] = all[i]
        list[#list + 1] = ''
    end

    all = redis.call('HGETALL', base .. 'roster')

    for i = 1, #all, 2 do
        local state = string.byte(all[i]) == 105 and subscription(all[i + 1])

        if state and string.find(state, '[tofi]') then
            list[#list + 1] = all[i]
            list[#list + 1] = state
        end
    end

    for i = 1, #list, 1000 do
        redis.call('HSET', base .. 'removed',
                   unpack(list, i, math.min(i + 999, #list)))
    end

    if #list > 0 then
        redis.call('EXPIRE', base .. 'removed', 604800)
    end
end


--
-- Removes an account, with all that it has: its sessions end on every worker.
-- Who calls it need not know what that is, but has to tell its contacts by
-- what is in key removed, and to delete that.
--
-- keys: account
-- args: channel, the digits of the date of creation that it has to have; 0 or
--       none: whichever has the name
-- returns: 1 when it existed; 0 also for another one of that name, to which
--          nothing happens
--
local function remove(keys, args)
    if redis.call('EXISTS', keys[1]) == 1
       and not same_account(keys[1], args[2])
    then
        return 0
    end

    local n = redis.call('DEL', keys[1])
    local base = string.sub(keys[1], 1, -1 - #'account')
    local period = math.floor(tonumber(redis.call('TIME')[1]) / 600)

    bequeath(base, n == 1)

    local all = redis.call('HVALS', base .. 'sessions')

    for i = 1, #all do
        local _, sid = split(all[i])

        if sid then
            redis.call('DEL', sm_of(base .. 'sessions', sid))
        end
    end

    ring(base .. 'sessions', args[1], 'x', '0', {}, '')
    redis.call('DEL', base .. 'sessions')

    -- some are big: their memory is freed behind

    for i = 1, #removed do
        redis.call('UNLINK', base .. removed[i])
    end

    -- by the clocks of workers, which may be a little wrong

    for i = period - 4, period + 1 do
        redis.call('DEL', string.format('%sseen:%.0f', base, i))
    end

    return n
end


--
-- What contacts have still to hear of an account that was removed: a page of
-- them, and those of the page before, who were told, go.
--
-- keys: removed
-- args: how many contacts at most, bare JIDs that were told, as lines
-- returns: { 'ok', '0', '0', resources, contacts }: resources that were
--          available, as lines; contacts as lines of a digit and a bare JID:
--          the sum of 1, "unsubscribe", 2, "unsubscribed", 4, unavailable;
--          { 'none' } when there is no such removal any more
--
local function removed_page(keys, args)
    local resources, list = {}, {}

    for jid in string.gmatch(args[2], '[^\n]+') do
        redis.call('HDEL', keys[1], 'i' .. jid)
    end

    local all = redis.call('HGETALL', keys[1])

    if #all == 0 then
        return { 'none' }
    end

    for i = 1, #all, 2 do
        local kind, name = string.match(all[i], '^(.)(.*)$')
        local state = all[i + 1]

        if kind == 'r' then
            resources[#resources + 1] = name

        elseif kind == 'i' and #list < tonumber(args[1]) then
            list[#list + 1] = (string.find(state, '[to]') and 1 or 0)
                              + (string.find(state, '[fi]') and 2 or 0)
                              + (string.find(state, 'f') and 4 or 0) .. name
        end
    end

    return { 'ok', '0', '0', table.concat(resources, '\n'),
             table.concat(list, '\n') }
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


-- these free memory: a full Redis must not stop them (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_remove', callback = remove,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_removed',
                         callback = removed_page, flags = { 'allow-oom' } }
redis.register_function('xmpp1_failed', failed)
redis.register_function('xmpp1_known', known)
