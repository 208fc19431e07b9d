--
-- Private XML storage (XEP-0049): changes of it, so that all of an account has
-- no more bytes than it may, whatever is changed at once on two hosts.
-- ngx_xmpp_module/store/ngx_xmpp_store_user.c calls them.
--
-- Field 'x' .. namespace has the elements of that namespace; field 'b' how
-- many bytes all of these fields and their values have.
--


-- the bytes that a field takes, 0 when it is not there

local function private_size(private, field)
    local old = redis.call('HGET', private, field)

    return old and #field + #old or 0
end


--
-- Elements become what is stored in their namespace, for a session, whose
-- record has to be there: so nothing is kept for an account that was removed.
--
-- keys: sessions, private
-- args: resource, sid, epoch, namespace, the elements,
--       how many bytes the account may have
-- returns: { 'ok', '0' }; { 'full', '0' }; { 'conflict', '0' }
--
local function private_set(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict', '0' }
    end

    local field = 'x' .. args[4]
    local size = tonumber(redis.call('HGET', keys[2], 'b') or '0')
    local more = #field + #args[5] - private_size(keys[2], field)

    -- what is too much since the limit was lowered may become less

    if more > 0 and size + more > tonumber(args[6]) then
        return { 'full', '0' }
    end

    redis.call('HSET', keys[2], field, args[5])
    redis.call('HINCRBY', keys[2], 'b', more)
    ends_with(keys[1], keys[2])

    return { 'ok', '0' }
end


--
-- Nothing is stored in a namespace any more.
--
-- keys: sessions, private
-- args: resource, sid, epoch, namespace
-- returns: { 'ok', '0' }; { 'conflict', '0' }
--
local function private_unset(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict', '0' }
    end

    local field = 'x' .. args[4]
    local size = private_size(keys[2], field)

    if size > 0 then
        redis.call('HDEL', keys[2], field)
        redis.call('HINCRBY', keys[2], 'b', -size)

        if redis.call('HLEN', keys[2]) == 1 then
            redis.call('DEL', keys[2])
        end
    end

    return { 'ok', '0' }
end


redis.register_function('xmpp1_private_set', private_set)

-- this frees memory: a full Redis must not stop it (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_private_unset',
                         callback = private_unset, flags = { 'allow-oom' } }
