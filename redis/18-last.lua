--
-- Last activity (XEP-0012): when an account's last available session went, as
-- field 'last' of the account, in seconds of Redis's clock.
-- ngx_xmpp_module/store/ngx_xmpp_store_last.c asks for it.
--


-- Nobody of the account is available any more.  Who has no account is not
-- remembered, nor is an account that was removed meanwhile.

local function note_last(account)
    if redis.call('EXISTS', account) == 1 then
        redis.call('HSET', account, 'last', redis.call('TIME')[1])
    end
end


--
-- When somebody was last available, for one who may have the presence
-- (XEP-0012, 3 and 8).
--
-- keys: account, sessions, roster
-- args: the full JID of who asks, or empty for the user
-- returns: seconds, 0 for who is available, '' when it is not known;
--          { 'forbidden' }; { 'none' } for one who is blocked
--
local function last(keys, args)
    if args[1] ~= '' then
        local bare = string.match(args[1], '^[^/]*')

        -- also while nobody is there, so 'b' is not asked

        if blocks(keys[2], args[1]) then
            return { 'none' }
        end

        if not string.find(subscription(redis.call('HGET', keys[3],
                                                   'i' .. bare)),
                           'f', 1, true)
        then
            return { 'forbidden' }
        end
    end

    if #targets(keys[2], available) > 0 then
        return '0'
    end

    local time = redis.call('HGET', keys[1], 'last')

    if not time then
        return ''
    end

    -- the clock may have been set back

    return string.format('%.0f', math.max(tonumber(redis.call('TIME')[1])
                                          - (tonumber(time) or 0), 0))
end


redis.register_function{ function_name = 'xmpp1_last', callback = last,
                         flags = { 'no-writes' } }
