--
-- Rosters (RFC 6121, 2): who is in it, and what changes it.
-- ngx_xmpp_module/store/ngx_xmpp_store_roster.c calls them.
--
-- Fields of the hash, beside those of 15-contact.lua: v, the version, d, that
-- of the last removal, and b, how many bytes the items have.  More letters of
-- a state: l (the user has put it there, or a subscription did), o (the user
-- has asked for the contact's presence), i (the contact has asked for the
-- user's), a (approved in advance).  What has i alone is no item: clients do
-- not see it (3.1.3).
--
-- A version is a number of the clock: none is given twice, and a removal needs
-- no trace.  Who has a version from after the last one gets what is newer.
--


local function has(state, letter)
    return string.find(state, letter, 1, true) ~= nil
end


local function with(state, letter)
    if has(state, letter) then
        return state
    end

    return state == '-' and letter or state .. letter
end


local function without(state, letters)
    local left = string.gsub(state, '[' .. letters .. ']', '')

    return left == '' and '-' or left
end


-- an item that clients see

local function is_item(state)
    return string.find(state, '[ltfoa]') ~= nil
end


-- version, state, name and groups; nil when there is nothing

local function item(value)
    local version, state, length, rest = string.match(value or '',
                                                 '^(%d+) (%S+) (%d+) (.*)$')
    if not version then
        return nil, '-', '', ''
    end

    return version, state, string.sub(rest, 1, tonumber(length)),
           string.sub(rest, tonumber(length) + 1)
end


local function escape(text)
    return (string.gsub(text, '[&<>\'"]', entities))
end


-- 2.1.2: as clients are shown it

local function item_xml(jid, state, name, groups)
    local subscription = 'none'

    if has(state, 't') then
        subscription = has(state, 'f') and 'both' or 'to'

    elseif has(state, 'f') then
        subscription = 'from'
    end

    return "<item jid='" .. escape(jid) .. "' subscription='" .. subscription
           .. "'" .. (has(state, 'o') and " ask='subscribe'" or '')
           .. (has(state, 'a') and " approved='true'" or '') .. name
           .. (groups == '' and '/>' or '>' .. groups .. '</item>')
end


local function push_xml(full, version, xml)
    return "<iq xmlns='jabber:client' type='set' id='push-" .. version
           .. "' to='" .. escape(full) .. "'><query xmlns='jabber:iq:roster'"
           .. " ver='" .. version .. "'>" .. xml .. '</query></iq>'
end


-- 2.1.6: a push to each session that has asked for the roster

local function push(sessions, channel, user, version, xml)
    local all = redis.call('HGETALL', sessions)

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' then
            local epoch, sid, _, _, flags = split(all[i + 1])

            if epoch and has(flags, 'r') then
                ring(sessions, channel, 'm', '0', { sid .. ':' .. epoch },
                     push_xml(user .. '/' .. string.sub(all[i], 2), version,
                              xml))
            end
        end
    end
end


-- Whether one more of so many bytes is too much; meta fields are not counted.

local function too_much(roster, field, value, max_items, max_size)
    local old = redis.call('HGET', roster, field)
    local meta = redis.call('HMGET', roster, 'v', 'd', 'b')
    local n = redis.call('HLEN', roster)

    for i = 1, 3 do
        n = n - (meta[i] and 1 or 0)
    end

    if not old and n >= max_items then
        return true
    end

    local more = #value - (old and #old or -#field)

    return more > 0 and (tonumber(meta[3] or '0') + more) > max_size
end


local function encode(version, state, name, groups)
    return version .. ' ' .. state .. ' ' .. #name .. ' ' .. name .. groups
end


-- Writes an entry, or, without a value, takes it away; keeps the count.

local function write(roster, field, value)
    local old = redis.call('HGET', roster, field)
    local more = (value and #value + #field or 0) - (old and #old + #field or 0)

    if value then
        redis.call('HSET', roster, field, value)

    elseif old then
        redis.call('HDEL', roster, field)
    end

    if more ~= 0 then
        redis.call('HINCRBY', roster, 'b', more)
    end

    ends_with(string.sub(roster, 1, -1 - #'roster') .. 'sessions', roster)
end


--
-- The roster, or what has changed since the client's version (2.2, 2.6); from
-- now on the session gets pushes.
--
-- keys: sessions, roster
-- args: resource, sid, epoch, the bare JID, the client's version or '-'
-- returns: { 'ok', version, epoch, 'all', item ... }, or 'since' with pushes:
--          no roster is sent then; { 'conflict' }
--
local function roster_get(keys, args)
    local field = 'r' .. args[1]
    local epoch, sid, boot, state, flags = split(redis.call('HGET', keys[1],
                                                            field) or '')

    if sid ~= args[2] or epoch ~= args[3] then
        return { 'conflict' }
    end

    local meta = redis.call('HMGET', keys[2], 'v', 'd')
    local version, removed = meta[1] or '0', meta[2] or '0'
    local mine = string.match(args[5], '^%d+$')
    local since = mine and #mine <= 18 and tonumber(mine)
    local reply = { 'ok', version, epoch, 'all' }

    if since and since <= tonumber(version) and since >= tonumber(removed)
       and (since > 0 or version == '0')
    then
        reply[4] = 'since'
    else
        since = -1
    end

    if not has(flags, 'r') then
        redis.call('HSET', keys[1], field,
                   epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
                   .. with(flags, 'r'))
    end

    if since == tonumber(version) then
        return reply
    end

    local all = redis.call('HGETALL', keys[2])
    local newer = {}

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'i' then
            local v, letters, name, groups = item(all[i + 1])

            if v and is_item(letters) and tonumber(v) > since then
                newer[#newer + 1] = { tonumber(v), v,
                                      item_xml(string.sub(all[i], 2), letters,
                                               name, groups) }
            end
        end
    end

    -- a client that loses the last pushes asks from the one before

    if reply[4] == 'since' then
        table.sort(newer, function(a, b) return a[1] < b[1] end)
    end

    for i = 1, #newer do
        reply[#reply + 1] = reply[4] == 'all' and newer[i][3]
                            or push_xml(args[4] .. '/' .. args[1], newer[i][2],
                                        newer[i][3])
    end

    return reply
end


-- Whoever writes has a session.  When there is none any more, the account may
-- have been removed, whose roster must not come back.

local function ended(sessions)
    return redis.call('EXISTS', sessions) == 0
end


--
-- Adds an item, or changes name and groups (2.3, 2.4).
--
-- keys: sessions, roster
-- args: channel, the bare JID, the item's, name (" name='...'" or empty),
--       groups (elements), how many items there may be, of how many bytes
-- returns: { 'ok', version }, { 'full' }, { 'busy' } when no session is there
--
local function roster_set(keys, args)
    if ended(keys[1]) then
        return { 'busy' }
    end

    local field = 'i' .. args[3]
    local _, state = item(redis.call('HGET', keys[2], field))
    local version = number_after(redis.call('HGET', keys[2], 'v'))

    state = with(state, 'l')

    local value = encode(version, state, args[4], args[5])

    if too_much(keys[2], field, value, tonumber(args[6]), tonumber(args[7]))
    then
        return { 'full' }
    end

    write(keys[2], field, value)
    redis.call('HSET', keys[2], 'v', version)

    push(keys[1], args[1], args[2], version,
         item_xml(args[3], state, args[4], args[5]))

    return { 'ok', version }
end


--
-- What an item's removal has to tell the contact first (2.5.2).
--
-- keys: roster
-- args: the item's bare JID
-- returns: { 'ok', '0', '0', state }, { 'none' }
--
local function roster_state(keys, args)
    local version, state = item(redis.call('HGET', keys[1], 'i' .. args[1]))

    if not version or not is_item(state) then
        return { 'none' }
    end

    return { 'ok', '0', '0', state }
end


--
-- Removes an item (2.5), whose subscriptions have ended: one that came up since
-- has to be ended, too (2.5.2), or the contact would keep it.  A request of the
-- contact that waits stays.
--
-- keys: sessions, roster
-- args: channel, the bare JID, the item's
-- returns: { 'ok', version }, { 'none' }, { 'again', '0', '0', state },
--          { 'busy' } when no session is there
--
local function roster_remove(keys, args)
    if ended(keys[1]) then
        return { 'busy' }
    end

    local field = 'i' .. args[3]
    local old, state = item(redis.call('HGET', keys[2], field))

    if not old or not is_item(state) then
        return { 'none' }
    end

    if string.find(state, '[tof]') then
        return { 'again', '0', '0', state }
    end

    local version = number_after(redis.call('HGET', keys[2], 'v'))

    write(keys[2], field, has(state, 'i') and encode(version, 'i', '', '')
                          or nil)
    redis.call('HSET', keys[2], 'v', version)
    redis.call('HSET', keys[2], 'd', version)

    push(keys[1], args[1], args[2], version,
         "<item jid='" .. escape(args[3]) .. "' subscription='remove'/>")

    return { 'ok', version }
end


redis.register_function('xmpp1_roster_get', roster_get)
redis.register_function('xmpp1_roster_set', roster_set)
redis.register_function('xmpp1_roster_state', roster_state)

-- this frees memory: a full Redis must not stop it (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_roster_remove',
                         callback = roster_remove,
                         flags = { 'allow-oom' } }
