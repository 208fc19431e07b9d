--
-- What a user wants to be archived (XEP-0441).
-- ngx_xmpp_module/store/ngx_xmpp_store_archive.c calls these.
--
-- Key archiving, a hash that is there when anything was said:
--
--     d             the default: a (always), n (never), r (those in the roster)
--     'j' .. JID    a or n
--
-- Field d of key archived says the same, to whoever archives: an account that
-- has said nothing costs nothing more (redis/28-archive.lua).
--


--
-- keys: sessions, archiving
-- args: resource, sid, epoch
-- returns: { 'ok', '0', '0', default, JIDs always, JIDs never }, both as lines;
--          { 'conflict' }
--
local function archiving_get(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    local all = redis.call('HGETALL', keys[2])
    local default, lists = 'a', { a = {}, n = {} }

    for i = 1, #all, 2 do
        local list = lists[all[i + 1]]

        if all[i] == 'd' then
            default = all[i + 1]

        elseif list then
            list[#list + 1] = string.sub(all[i], 2)
        end
    end

    table.sort(lists.a)
    table.sort(lists.n)

    return { 'ok', '0', '0', default, table.concat(lists.a, '\n'),
             table.concat(lists.n, '\n') }
end


--
-- Takes the place of all that was said before.  May be repeated.
--
-- keys: sessions, archived, archiving
-- args: resource, sid, epoch, default, JIDs always, JIDs never, as lines
-- returns: { 'ok', '0' }; { 'conflict' }
--
local function archiving_set(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    redis.call('DEL', keys[3])

    -- who says what is so anyhow has said nothing

    if args[4] == 'a' and args[6] == '' then
        redis.call('HDEL', keys[2], 'd')

        if args[5] == '' then
            return { 'ok', '0' }
        end
    end

    redis.call('HSET', keys[3], 'd', args[4])

    for i, what in ipairs({ 'a', 'n' }) do
        for jid in string.gmatch(args[4 + i], '[^\n]+') do
            redis.call('HSET', keys[3], 'j' .. jid, what)
        end
    end

    ends_with(keys[1], keys[3])

    if args[4] ~= 'a' or args[6] ~= '' then
        redis.call('HSET', keys[2], 'd', args[4])
        ends_with(keys[1], keys[2])
    end

    return { 'ok', '0' }
end


redis.register_function('xmpp1_archiving', archiving_get)
redis.register_function('xmpp1_archiving_set', archiving_set)
