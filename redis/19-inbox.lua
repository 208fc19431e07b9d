--
-- The inbox: messages that no session has taken yet (XEP-0160).  Route keeps
-- them; ngx_xmpp_module/store/ngx_xmpp_store_inbox.c hands them out, and says
-- what was taken.
--
-- A stream beside the records.  An entry's id begins with the number of the
-- step that wrote it, which is that of its bell, if it was rung, so it tells
-- when; its fields are
--
--     f     the sender's full JID, empty for the user's own
--     m     the stanza; M: one that the archive has, too, under the same id
--     t     whom it was rung for, sids with ',' between, '=' before them when
--           it was to a full JID; none when nobody was there
--
-- An entry goes as soon as one session has taken it, whichever.  Until then it
-- is for its targets; when it is to the bare JID, also for all who come later;
-- and for anybody when no target has a record any more (cluster.md, rule 9).
-- One that could not be handed over to its end is handed out again, so a client
-- may get one twice and never misses one.
--
-- Field 'i' of the sessions hash is "entries bytes number": what the inbox
-- holds, and the number of the last entry.  Whoever routes reads that hash
-- anyway.  It goes with the last entry.
--


-- what one step looks at, at most: twice a page, when nothing of the first is
-- for whom it is for
local page, looks = 32, 2

-- entries that one command removes, at most: Lua has no room for all
local at_once = 1000


-- What the inbox holds, entries and bytes, and the number that the next entry
-- has to be behind, or nil; held is field 'i'.

local function holds(sessions, held)
    local entries, bytes, last = string.match(held or '',
                                              '^(%d+) (%d+) (%d+)$')

    if entries then
        return tonumber(entries), tonumber(bytes), last
    end

    -- the sessions hash may have been lost

    local inbox = beside(sessions, 'inbox')
    local entry = redis.call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1]

    if not entry then
        return 0, 0
    end

    return redis.call('XLEN', inbox), 0, string.match(entry[1], '^%d+')
end


-- Field 'i', but for the number, with the stanzas of one command of route,
-- args[first] being the counter of the first one; and their number, which is
-- behind n, the last bell's.  Nil when they are more than may be: limit is
-- "messages bytes", and so much again for who is there, who is not refused what
-- comes for him because of what waits for others of his sessions.

local function room(sessions, n, held, args, first, from, limit, there)
    local messages, bytes = string.match(limit, '^(%d+) (%d+)')
    local entries, size, last = holds(sessions, held)
    local times = there and 2 or 1

    for i = first + 1, #args, 2 do
        size = size + #args[i] + #from
        entries = entries + 1
    end

    if entries > times * tonumber(messages) or size > times * tonumber(bytes)
    then
        local said = tonumber(string.match(held or '', '^%d+'))

        -- the inbox may have been lost: it would be full for ever

        if said and said ~= redis.call('XLEN', beside(sessions, 'inbox')) then
            return room(sessions, n, nil, args, first, from, limit, there)
        end

        return nil
    end

    if last and (not n or tonumber(last) > tonumber(n)) then
        n = last
    end

    return string.format('%d %.0f', entries, size), number_after(n)
end


-- Writes them, under that number, with field t, or nil.  What the inbox holds
-- by now is for the caller to write.

local function append(sessions, n, args, first, from, target, archived)
    local inbox = beside(sessions, 'inbox')
    local field = archived and 'M' or 'm'
    local i = 0

    for k = first + 1, #args, 2 do
        if target then
            redis.call('XADD', inbox, n .. '-' .. i, 'f', from, field, args[k],
                       't', target)
        else
            redis.call('XADD', inbox, n .. '-' .. i, 'f', from, field, args[k])
        end

        i = i + 1
    end
end


--
-- Keeps the stanzas of one command of route for whoever comes, all of them or
-- none; last and held are fields 'n' and 'i'.  No bell has their number.
-- Returns 'ok' and the number; 'full', or 'none' when there is no such account,
-- and nothing is written.
--
local function keep(sessions, last, held, args, first, from, limit, archived)
    if redis.call('EXISTS', beside(sessions, 'account')) == 0 then
        return 'none'
    end

    local now, n = room(sessions, last, held, args, first, from, limit)

    if not now then
        return 'full'
    end

    append(sessions, n, args, first, from, nil, archived)
    redis.call('HSET', sessions, 'i', now .. ' ' .. n)

    return 'ok', n
end


-- Entries, as XRANGE has them in this step, go, all of them at once: a command
-- for each would cost as much as to write it has.

local function drop(sessions, inbox, list)
    local ids, known = {}, {}
    local _, bytes, last = holds(sessions, redis.call('HGET', sessions, 'i'))

    for i = 1, #list do
        local id = list[i][1]

        if not known[id] then
            known[id] = true
            ids[#ids + 1] = id
            bytes = bytes - #list[i][2][2] - #list[i][2][4]
        end
    end

    local entries = redis.call('XLEN', inbox) - #ids

    if entries == 0 then
        redis.call('DEL', inbox)
        redis.call('HDEL', sessions, 'i')
        return
    end

    for i = 1, #ids, at_once do
        redis.call('XDEL', inbox,
                   unpack(ids, i, math.min(i + at_once - 1, #ids)))
    end

    if #ids > 0 then
        redis.call('HSET', sessions, 'i',
                   string.format('%d %.0f', entries, math.max(bytes, 0))
                   .. ' ' .. last)
    end
end


-- The sids of all sessions that have not gone.

local function present(sessions)
    local all = redis.call('HGETALL', sessions)
    local sids = {}

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' then
            local _, sid, _, state = split(all[i + 1])

            if sid and state ~= 'g' then
                sids[sid] = true
            end
        end
    end

    return sids
end


-- Whether an entry is for a session, which may get all that is to the bare JID
-- or none of that (RFC 6121, 8.5.2.1.1); heard: its bell is.

local function is_for(target, sid, all, sids, heard)
    if not target then
        return all
    end

    local left = false

    for one in string.gmatch(target, '[^=,]+') do
        if one == sid then
            return heard
        end

        left = left or sids[one]
    end

    return all and (not left or string.sub(target, 1, 1) ~= '=')
end


--
-- A page of what is for a session and nobody has taken, behind the entry that
-- it was given last.  What is rung for it comes by the bell, in order with what
-- is not kept, unless that has rung by now (cluster.md, rule 6).  What comes
-- from those whom the user has blocked since then goes unread (XEP-0191, 3.3).
-- There may be thousands for others before the first one that is for it: they
-- are left behind a few at a time, since Redis does nothing else meanwhile.
-- May be repeated.
--
-- keys: sessions, inbox
-- args: resource, sid, epoch, the last entry that it was given, or empty,
--       bytes that may be in the page, but one entry always is, the number of
--       the last bell that it has heard, or has missed
-- returns: { 'ok', '0', epoch, id, stanza, ... }, with '+' behind the id of one
--          that the archive has; no entry: that is all; an empty stanza: there
--          may be some behind that id; { 'conflict' }
--
local function hand_out(keys, args)
    local own, _, state = mine(keys[1], args[1], args[2], args[3])

    if not own then
        return { 'conflict' }
    end

    local reply = { 'ok', '0', args[3] }
    local all = not_negative(tonumber(string.match(state, '^d?(.*)$')))
    local blocked = block_list(keys[1])
    local sids = present(keys[1])
    local unread = {}
    local size, looked = 0, 0
    local after, heard = args[4], tonumber(args[6])
    local list

    repeat
        list = redis.call('XRANGE', keys[2],
                          after == '' and '-' or '(' .. after, '+', 'COUNT',
                          page)

        for _, entry in ipairs(list) do
            local from, stanza = entry[2][2], entry[2][4]

            after = entry[1]

            if blocked and from ~= '' and listed(blocked, from) then
                unread[#unread + 1] = entry

            elseif is_for(entry[2][6], args[2], all, sids,
                          tonumber(string.match(after, '^%d+')) <= heard)
            then
                size = size + #stanza

                if #reply > 3 and size > tonumber(args[5]) then
                    list = {}
                    break
                end

                reply[#reply + 1] = entry[2][3] == 'M' and entry[1] .. '+'
                                    or entry[1]
                reply[#reply + 1] = stanza
            end
        end

        looked = looked + 1
    until #list < page or #reply > 3 or looked == looks

    if #reply == 3 and #list == page then
        reply[4], reply[5] = after, ''
    end

    if #unread > 0 then
        drop(keys[1], keys[2], unread)
    end

    return reply
end


--
-- A session has taken entries: its client has acknowledged them, or the socket
-- has got them.  That is true whoever holds the resource by now, and may be
-- said twice.
--
-- keys: sessions, inbox
-- args: entries: "number first last", with ',' between
-- returns: { 'ok' }
--
local function taken(keys, args)
    local list = {}

    for n, first, last in string.gmatch(args[1], '(%d+) (%d+) (%d+)') do
        local range = redis.call('XRANGE', keys[2], n .. '-' .. first,
                                 n .. '-' .. last)

        for i = 1, #range do
            list[#list + 1] = range[i]
        end
    end

    drop(keys[1], keys[2], list)

    return { 'ok' }
end


-- A session has gone: what it has not taken is for others now, who are told if
-- there are any, and read it; else it is there for whoever comes.  Returns the
-- number of the bell, or nil.

local function owe_again(sessions, channel)
    if redis.call('HEXISTS', sessions, 'i') == 0 then
        return nil
    end

    local list = targets(sessions, not_negative)

    if #list == 0 then
        return nil
    end

    local _, number = ring(sessions, channel, 'o', '0', list, '')

    return number
end


-- these free memory: a full Redis must not stop them (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_inbox', callback = hand_out,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_taken', callback = taken,
                         flags = { 'allow-oom' } }
