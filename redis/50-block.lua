--
-- Block lists (XEP-0191): how they are read and changed, and whom a change
-- concerns.  ngx_xmpp_module/store/ngx_xmpp_store_block.c calls them.
--
-- Each worker that has a session of the account keeps a copy of the list, with
-- the number of the bell that brought it; a copy of a lower number is older.
-- So a bell b has the whole list, and no order of replies and bells does harm.
--


-- what is for the sessions that have asked for the list, flag b

local function asked(_, flags)
    return string.find(flags, 'b', 1, true) ~= nil
end


local function lines(text)
    local list = {}

    for line in string.gmatch(text, '[^\n]+') do
        list[#list + 1] = line
    end

    return list
end


-- Rings the list as it will be, and then writes it: if it cannot be rung,
-- nothing has changed.  Returns the number of the bell and the list.

local function change(keys, channel, push, lifetime, list, command, items)
    local text = table.concat(list, '\n')
    local _, number = ring(keys[1], channel, 'b', '0',
                           targets(keys[1], asked), push .. '\n' .. text)

    for i = 1, #items do
        redis.call(command, keys[2], items[i])
    end

    if #list > 0 then
        redis.call('HSET', keys[1], 'b', '1')

        if tonumber(lifetime) > 0 then
            redis.call('EXPIRE', keys[2], lifetime)
        end

    else
        redis.call('HDEL', keys[1], 'b')
    end

    return number, text
end


--
-- Blocks JIDs, for a session, whose record has to be there: so the list of an
-- account that was removed does not come back.
--
-- keys: sessions, blocked
-- args: channel, resource, sid, epoch,
--       the element that sessions which asked for the list are sent,
--       the JIDs, as lines, lifetime (as of bind),
--       how many the list may have, how many bytes, with one more for each
-- returns: { 'ok', number of the bell, list }; { 'full', '0' };
--          { 'conflict', '0' }
--
local function block(keys, args)
    if not mine(keys[1], args[2], args[3], args[4]) then
        return { 'conflict', '0' }
    end

    local list = redis.call('SMEMBERS', keys[2])
    local all, items, size = {}, lines(args[6]), 0

    for i = 1, #list do
        all[list[i]] = true
        size = size + #list[i] + 1
    end

    for i = 1, #items do
        if not all[items[i]] then
            all[items[i]] = true
            list[#list + 1] = items[i]
            size = size + #items[i] + 1
        end
    end

    if #list > tonumber(args[8]) or size > tonumber(args[9]) then
        return { 'full', '0' }
    end

    local number, text = change(keys, args[1], args[5], args[7], list, 'SADD',
                                items)

    return { 'ok', number, text }
end


--
-- Takes JIDs from the list.
--
-- keys: sessions, blocked
-- args: channel, resource, sid, epoch,
--       the element that sessions which asked for the list are sent,
--       the JIDs, as lines; empty: all, lifetime (as of bind)
-- returns: { 'ok', number of the bell, list }; { 'conflict', '0' }
--
local function unblock(keys, args)
    if not mine(keys[1], args[2], args[3], args[4]) then
        return { 'conflict', '0' }
    end

    local list = redis.call('SMEMBERS', keys[2])
    local out, items, left = {}, lines(args[6]), {}

    if args[6] == '' then
        items = list
        list = {}
    end

    for i = 1, #items do
        out[items[i]] = true
    end

    for i = 1, #list do
        if not out[list[i]] then
            left[#left + 1] = list[i]
        end
    end

    local number, text = change(keys, args[1], args[5], args[7], left, 'SREM',
                                items)

    return { 'ok', number, text }
end


--
-- The list, for a session that wants to hear of changes from now on.
--
-- keys: sessions, blocked
-- args: resource, sid, epoch, flags: all that are set, '-' for none
-- returns: { 'ok', number of the last bell, list }; { 'conflict', '0' }
--
local function blocklist(keys, args)
    local is, boot, state = mine(keys[1], args[1], args[2], args[3])

    if not is then
        return { 'conflict', '0' }
    end

    redis.call('HSET', keys[1], 'r' .. args[1],
               args[3] .. ' ' .. args[2] .. ' ' .. boot .. ' ' .. state .. ' '
               .. args[4])

    return { 'ok', redis.call('HGET', keys[1], 'n') or '0',
             table.concat(redis.call('SMEMBERS', keys[2]), '\n') }
end


-- A contact who gets presence, as contacts() has it.  Contacts can make that
-- happen as often as they like, so the roster is not gone through.

local function granted(sessions, roster, jid)
    if not string.find(subscription(redis.call('HGET', roster, 'i' .. jid)),
                       'f', 1, true)
       or (redis.call('HGET', sessions, 'b') and blocks(sessions, jid))
    then
        return ''
    end

    return 'f' .. jid
end


--
-- Whom it concerns that JIDs were blocked, or are not blocked any more, or that
-- one gets presence from now on, among the contacts of a session that is
-- available.  Each worker asks for each of its own, so what it tells them comes
-- behind the presence that it has sent.
--
-- keys: sessions, presence, roster
-- args: resource, sid, epoch, what: + (they are blocked), - (not any more) or
--       = (it gets presence), the JIDs, as lines; with = one
-- returns: { 'ok', '0', contacts, the session's presence }, contacts as those
--          of presence, to tell, and with - to ask; { 'none', '0' }: the
--          session is not available; { 'conflict', '0' }
--
local function affected(keys, args)
    local is, _, state = mine(keys[1], args[1], args[2], args[3])
    local items = lines(args[5])
    local only = {}

    if not is then
        return { 'conflict', '0' }
    end

    if not available(tonumber(state)) then
        return { 'none', '0' }
    end

    for i = 1, #items do
        only[items[i]] = true
    end

    local list

    if args[4] == '=' then
        list = granted(keys[1], keys[3], items[1])

    elseif args[4] == '+' then
        list = contacts(keys[3], false, nil, only)

    else
        list = contacts(keys[3], true, block_list(keys[1]), only)
    end

    return { 'ok', '0', list,
             redis.call('HGET', keys[2], 'r' .. args[1]) or '' }
end


redis.register_function('xmpp1_block', block)
redis.register_function('xmpp1_blocklist', blocklist)
redis.register_function('xmpp1_affected', affected)

-- this frees memory: a full Redis must not stop it (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_unblock', callback = unblock,
                         flags = { 'allow-oom' } }
