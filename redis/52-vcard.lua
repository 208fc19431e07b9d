--
-- vCards (XEP-0054): one of an account, which others read in its slot.
-- ngx_xmpp_module/store/ngx_xmpp_store_user.c calls them.
--
-- Field 'x' has the element.
--


--
-- The vCard for whoever asks.  XEP-0054, 3.3, XEP-0191, 3.3: who is blocked is
-- told what he is told of somebody who has none.
--
-- keys: sessions, vcard
-- args: full JID of who asks, empty for the account itself
-- returns: the element; nil: there is none for him
--
local function vcard(keys, args)
    -- 'b' of the sessions does not tell: there may be none

    if args[1] ~= '' and blocks(keys[1], args[1]) then
        return false
    end

    return redis.call('HGET', keys[2], 'x')
end


--
-- An element becomes the vCard, for a session, whose record has to be there.
--
-- keys: sessions, vcard
-- args: resource, sid, epoch, the element
-- returns: { 'ok', '0' }; { 'conflict', '0' }
--
local function vcard_set(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict', '0' }
    end

    redis.call('HSET', keys[2], 'x', args[4])
    ends_with(keys[1], keys[2])

    return { 'ok', '0' }
end


--
-- There is no vCard any more.
--
-- keys: sessions, vcard
-- args: resource, sid, epoch
-- returns: { 'ok', '0' }; { 'conflict', '0' }
--
local function vcard_unset(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict', '0' }
    end

    redis.call('DEL', keys[2])

    return { 'ok', '0' }
end


redis.register_function{ function_name = 'xmpp1_vcard', callback = vcard,
                         flags = { 'no-writes' } }
redis.register_function('xmpp1_vcard_set', vcard_set)

-- this frees memory: a full Redis must not stop it (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_vcard_unset',
                         callback = vcard_unset, flags = { 'allow-oom' } }
