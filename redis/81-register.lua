--
-- New accounts that strangers make (XEP-0077, 3.1), and how many of them a
-- network makes.  ngx_xmpp_module/store/ngx_xmpp_store_register.c calls them.
--
-- The hash registrations has two fields for each network, under the hash of its
-- name: how many accounts it has made, and behind a 't' how often it has tried.
-- All counters live and die together: the first one begins a window of time.
--


--
-- Counts an attempt, and the account that may come of it, before anything is
-- done for it; or gives that back.  A repeat counts again.
--
-- keys: registrations
-- args: seconds of a window, how many counters there may be, counter of the
--       network, how many accounts it may make, or '-' to give one back, how
--       often it may try
-- returns: { 'ok', '0' }; { 'full', '0' }
--
local function registering(keys, args)
    local name, tries = args[3], 't' .. args[3]
    local made = tonumber(redis.call('HGET', keys[1], name)) or 0
    local tried = tonumber(redis.call('HGET', keys[1], tries)) or 0

    if args[4] == '-' then
        if made > 0 then
            redis.call('HINCRBY', keys[1], name, -1)
        end

        return { 'ok', '0' }
    end

    -- strangers choose their addresses, so there is a bound

    if made >= tonumber(args[4]) or tried >= tonumber(args[5])
       or tried == 0 and redis.call('HLEN', keys[1]) >= tonumber(args[2])
    then
        return { 'full', '0' }
    end

    redis.call('HINCRBY', keys[1], name, 1)
    redis.call('HINCRBY', keys[1], tries, 1)

    if redis.call('TTL', keys[1]) == -1 then
        redis.call('EXPIRE', keys[1], args[1])
    end

    return { 'ok', '0' }
end


--
-- Makes an account, unless there is one, or contacts of the last one of that
-- name have not heard of its removal.  A repeat finds its own keys, whose salts
-- nobody else has.
--
-- keys: account, removed
-- args: date, then fields and values, the last of them a key
-- returns: { 'ok', '0' }; { 'none', '0' }: the name is taken
--
local function register(keys, args)
    if redis.call('EXISTS', keys[1]) == 1 then
        local own = redis.call('HGET', keys[1], args[#args - 1]) == args[#args]

        return { own and 'ok' or 'none', '0' }
    end

    if redis.call('EXISTS', keys[2]) == 1 then
        return { 'none', '0' }
    end

    redis.call('HSET', keys[1], 'created', args[1])

    for i = 2, #args, 2 do
        redis.call('HSET', keys[1], args[i], args[i + 1])
    end

    return { 'ok', '0' }
end


redis.register_function('xmpp1_registering', registering)
redis.register_function('xmpp1_register', register)
