--
-- The password of an account, changed by its user (XEP-0077, 3.3).
-- ngx_xmpp_module/store/ngx_xmpp_store_password.c calls it.
--


--
-- New keys take the place of the old ones, for a session whose record has to be
-- there: so no account is made of one that was removed.  What digest-md5 has is
-- of the old password, and does not stay.
--
-- keys: account, sessions
-- args: resource, sid, epoch, then fields and values
-- returns: { 'ok', '0' }; { 'none', '0' } when there is no account;
--          { 'conflict', '0' }
--
local function password(keys, args)
    if not mine(keys[2], args[1], args[2], args[3]) then
        return { 'conflict', '0' }
    end

    if redis.call('EXISTS', keys[1]) == 0 then
        return { 'none', '0' }
    end

    redis.call('HDEL', keys[1], 'digest-md5')

    for i = 4, #args, 2 do
        redis.call('HSET', keys[1], args[i], args[i + 1])
    end

    return { 'ok', '0' }
end


redis.register_function('xmpp1_password', password)
