--
-- Contacts: whom the presence of a user concerns, and what their slots do
-- with it (RFC 6121, 4.2 to 4.5).  ngx_xmpp_module/core/ngx_xmpp_tell.c sends
-- one xmpp1_contact to each.
--
-- The roster is a hash of the account.  Field 'i' .. bare JID is an item, or
-- only a request that came in:
--
--     version state length name groups
--
-- where state is letters, '-' for none: t (the user gets the contact's
-- presence), f (the contact gets the user's), and others that are of no
-- concern here.
--


local function subscription(item)
    return string.match(item or '', '^%d+ (%S+)') or ''
end


-- Whom to tell, and with asked whom to ask: lines of a letter, f (tell),
-- t (ask) or b (both), and the bare JID.  blocked is a block list, or nil; with
-- only none but those in that list.

local function contacts(roster, asked, blocked, only)
    local all = redis.call('HGETALL', roster)
    local list = {}

    -- rosters are long: no string is made of what is not concerned

    for i = 1, #all, 2 do
        local what

        if string.byte(all[i]) == 105 then
            what = string.find(all[i + 1], '^%d+ %l-f') and 'f'

            if asked and string.find(all[i + 1], '^%d+ %l-t') then
                what = what and 'b' or 't'
            end
        end

        if what then
            local jid = string.sub(all[i], 2)

            if not (blocked and listed(blocked, jid))
               and (not only or listed(only, jid))
            then
                list[#list + 1] = what .. jid
            end
        end
    end

    return table.concat(list, '\n')
end


-- RFC 6121, 4.3.2: who may have it gets the presence of each resource, or of
-- the one that was asked for.  A user may see his own.  A client, which hears
-- that nobody is there, must not hear it when it is blocked, either (XEP-0191,
-- 3.3): then 'b', which a session sets, does not tell.

local function probed(keys, what, user, resource)
    local list

    if resource == '' then
        list = redis.call('HVALS', keys[2])
    else
        list = { redis.call('HGET', keys[2], 'r' .. resource) or nil }
    end

    if user == '' then
        return list, true
    end

    local bare = string.match(user, '^[^/]*')

    if not string.find(subscription(redis.call('HGET', keys[3], 'i' .. bare)),
                       'f', 1, true)
       or ((what == 'p' or redis.call('HGET', keys[1], 'b'))
           and blocks(keys[1], user))
    then
        return {}, false
    end

    return list, true
end


-- Whether presence that was told is for the contact: it may have been under way
-- when the subscription ended, and must not be the last that is heard of the
-- user.  The end of it always is.  The writer escapes what would look like the
-- end of the root's tag, or of a value.

local function wanted_here(roster, user, stanza)
    if user == '' or string.find(stanza, "^<[^>]* type='unavailable'") then
        return true
    end

    local bare = string.match(user, '^[^/]*')

    return string.find(subscription(redis.call('HGET', roster, 'i' .. bare)),
                       't', 1, true) ~= nil
end


--
-- What the presence of a user means for one of the contacts, in the contact's
-- slot.  Whoever sends it has decided who may be told; who may ask is decided
-- here, and that nothing is taken from those who are blocked (XEP-0191, 3.3),
-- nor presence of one whose presence the contact does not get any more.
--
-- keys: sessions, presence, roster
-- args: channel, user: the JID, or empty for the contact himself,
--       what: f (tell), t (ask), b (both, tell first), p (ask, by a client),
--       the stanza of f and b, the resource of p or empty
-- returns: { 'ok', number of the bell, presence ... }; p also { 'gone', '0' }
--          when nothing is available for one who may ask, and
--          { 'none', '0' } for one who may not
--
local function contact(keys, args)
    local what = args[3]
    local reply = { 'ok', '0' }

    if what == 'f' or what == 'b' then
        local list, last, blocking = targets(keys[1], available)

        if #list == 0
           or (blocking and args[2] ~= '' and blocks(keys[1], args[2]))
        then
            return reply
        end

        if wanted_here(keys[3], args[2], args[4]) then
            local n = number_after(last)
            local count, err = publish(args[1], 'm', n, last or '0', '0',
                                       table.concat(list, ','), args[4])

            if not count then
                return redis.error_reply('NOPERM SPUBLISH: ' .. err.err)
            end

            redis.call('HSET', keys[1], 'n', n)
            reply[2] = n
        end
    end

    if what == 'f' then
        return reply
    end

    local list, allowed = probed(keys, what, args[2], args[5] or '')

    if what == 'p' and not allowed then
        return { 'none', '0' }
    end

    if what == 'p' and #list == 0 then
        return { 'gone', '0' }
    end

    for i = 1, #list do
        reply[#reply + 1] = list[i]
    end

    return reply
end


-- it rings, and writes no more than the bell's number: a full Redis must not
-- keep who has gone online

redis.register_function{ function_name = 'xmpp1_contact', callback = contact,
                         flags = { 'allow-oom' } }
