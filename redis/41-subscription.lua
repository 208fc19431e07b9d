--
-- Subscriptions (RFC 6121, 3): one step in the slot of each party, by the
-- tables of appendix A.  Between the two goes the stanza, and nothing else, so
-- that either of them may be on another server.
-- ngx_xmpp_module/store/ngx_xmpp_store_roster.c calls them.
--
-- Requests that wait for an answer are in a hash of their own, a field for
-- each JID: the stanza, as each session gets it at its initial presence.
--


-- one entry changes its state, and clients hear of it if they can see it

local function change(keys, channel, user, contact, state, value)
    local field = 'i' .. contact
    local _, before, name, groups = item(value)
    local version = redis.call('HGET', keys[2], 'v') or '0'

    if state == before then
        return
    end

    if is_item(state) then
        version = number_after(redis.call('HGET', keys[2], 'v'))
    end

    write(keys[2], field, state ~= '-' and encode(version, state, name, groups)
                          or nil)

    if is_item(state) then
        redis.call('HSET', keys[2], 'v', version)
        push(keys[1], channel, user, version,
             item_xml(contact, state, name, groups))
    end
end


-- The sessions whose presence is to be taken back: those that are available,
-- and those of which contacts may not have heard yet that they went, since who
-- tells that looks for contacts, and this one is none any more.

local function resources(sessions, presence, reply)
    local all = redis.call('HKEYS', presence)

    for i = 1, #all do
        reply[#reply + 1] = string.sub(all[i], 2)
    end

    all = redis.call('HGETALL', sessions)

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' then
            local _, _, _, state = split(all[i + 1])

            if state == 'g' then
                reply[#reply + 1] = string.sub(all[i], 2)
            end
        end
    end

    return reply
end


-- A.2: what the user's own stanza makes of a state, and whether it goes on

local outbound = {
    subscribe = function(state)
        return has(state, 't') and state or with(with(state, 'l'), 'o'), true
    end,

    unsubscribe = function(state)
        return without(state, 'to'), true
    end,

    -- 3.4.2: nobody has asked yet

    subscribed = function(state)
        if has(state, 'i') then
            return with(with(without(state, 'ia'), 'l'), 'f'), true
        end

        return has(state, 'f') and state or with(with(state, 'l'), 'a'), false
    end,

    unsubscribed = function(state)
        return without(state, 'fia'), has(state, 'f') or has(state, 'i')
    end
}


--
-- The user's side of a subscription (A.2).
--
-- keys: sessions, roster, requests, presence
-- args: channel, user, contact, type, how many entries there may be, of how
--       many bytes
-- returns: { 'ok', '0', '0', route, tell, resource, ... }: route: the stanza
--          goes on to the contact; tell: he gets presence (p) by xmpp1_grant,
--          when he has the stanza, or that these resources are unavailable
--          (u), else '-'; { 'full' }; { 'busy' } when no session is there
--
local function subscribe_out(keys, args)
    if ended(keys[1]) then
        return { 'busy' }
    end

    local field = 'i' .. args[3]
    local value = redis.call('HGET', keys[2], field)
    local _, state, name, groups = item(value)
    local new, route = outbound[args[4]](state)
    local reply = { 'ok', '0', '0', route and '1' or '0', '-' }

    if (args[4] == 'subscribe' or args[4] == 'subscribed')
       and too_much(keys[2], field, encode(string.rep('9', 16), new, name,
                                           groups),
                    tonumber(args[5]), tonumber(args[6]))
    then
        return { 'full' }
    end

    if args[4] == 'subscribed' or args[4] == 'unsubscribed' then
        redis.call('HDEL', keys[3], args[3])
    end

    change(keys, args[1], args[2], args[3], new, value)

    if args[4] == 'subscribed' and route then
        reply[5] = 'p'

    elseif has(state, 'f') and not has(new, 'f') then
        reply[5] = 'u'
    end

    if reply[5] == 'u' then
        resources(keys[1], keys[4], reply)
    end

    return reply
end


-- A.3: what the contact's stanza makes of a state; whom it is delivered to:
-- '-' nobody, a available sessions, r those that have the roster; and whether
-- the contact is answered in the user's name

local inbound = {
    subscribe = function(state)
        if has(state, 'f') then
            return state, '-', true
        end

        if has(state, 'a') then
            return with(without(state, 'a'), 'f'), '-', true
        end

        return with(state, 'i'), has(state, 'i') and '-' or 'a', false
    end,

    unsubscribe = function(state)
        return without(state, 'fi'),
               (has(state, 'f') or has(state, 'i')) and 'r' or '-', false
    end,

    subscribed = function(state)
        if has(state, 'o') then
            return with(without(state, 'o'), 't'), 'r', false
        end

        return state, '-', false
    end,

    unsubscribed = function(state)
        return without(state, 'to'),
               (has(state, 'o') or has(state, 't')) and 'r' or '-', false
    end
}


local function interested(_, flags)
    return has(flags, 'r')
end


--
-- The contact's side of a subscription (A.3): user is the one whose slot this
-- is, contact the sender.
--
-- keys: account, sessions, roster, requests, presence
-- args: channel, user, contact, type, the stanza, how many requests may wait,
--       1 when the contact's account was removed, which nobody can block, else
--       empty or left out
-- returns: { 'ok', number, '0', answer, tell, resource, ... }: answer is a
--          type to be sent back in the user's name, or '-'; tell as of
--          xmpp1_subscribe_out; { 'none' }: nothing comes of it, for whatever
--          reason
--
local function subscribe_in(keys, args)
    -- XEP-0191, 3.3: nor does anything come of what a blocked contact sends;
    -- the sessions, which know whether there is a list, may be none

    if redis.call('EXISTS', keys[1]) == 0
       or args[7] ~= '1' and blocks(keys[2], args[3])
    then
        return { 'none' }
    end

    local value = redis.call('HGET', keys[3], 'i' .. args[3])
    local _, state = item(value)
    local new, whom, answer = inbound[args[4]](state)
    local reply = { 'ok', '0', '0', answer and 'subscribed' or '-', '-' }

    -- strangers must not fill the account (3.1.3)

    if has(new, 'i') and not has(state, 'i')
       and redis.call('HLEN', keys[4]) >= tonumber(args[6])
    then
        return { 'none' }
    end

    if has(new, 'i') and args[4] == 'subscribe' then
        redis.call('HSET', keys[4], args[3], args[5])

    elseif not has(new, 'i') and has(state, 'i') then
        redis.call('HDEL', keys[4], args[3])
    end

    if whom ~= '-' then
        local list = targets(keys[2], whom == 'a' and available or interested)

        if #list > 0 then
            local _

            _, reply[2] = ring(keys[2], args[1], 'm', '0', list, args[5])
        end
    end

    change({ keys[2], keys[3] }, args[1], args[2], args[3], new, value)

    if answer then
        reply[5] = 'p'

    elseif has(state, 'f') and not has(new, 'f') then
        reply[5] = 'u'
    end

    if reply[5] == 'u' then
        resources(keys[2], keys[5], reply)
    end

    return reply
end


--
-- A contact gets the user's presence from now on: each worker tells him that of
-- its own sessions (3.1.5), behind what it has told before.
--
-- keys: sessions
-- args: channel, the contact's bare JID
-- returns: { 'ok', number }; { 'none', '0' }: no session is available
--
local function grant(keys, args)
    local list = targets(keys[1], available)

    if #list == 0 then
        return { 'none', '0' }
    end

    local _, number = ring(keys[1], args[1], 'p', '0', list, args[2])

    return { 'ok', number }
end


redis.register_function('xmpp1_subscribe_out', subscribe_out)
redis.register_function('xmpp1_subscribe_in', subscribe_in)

-- it rings, as xmpp1_contact does

redis.register_function{ function_name = 'xmpp1_grant', callback = grant,
                         flags = { 'allow-oom' } }
