--
-- Routing: who gets a stanza (RFC 6121, 8.5), and whether it has come before.
-- ngx_xmpp_module/store/ngx_xmpp_store_route.c calls it.
--


local wanted = {
    c = not_negative, n = not_negative, h = not_negative, p = available
}


-- Who gets a stanza, and what else targets() returns; at last whether it is to
-- a full JID that is there.

local function recipients(sessions, kind, resource)
    -- RFC 6121, 8.5.3: a full JID

    if resource ~= '' then
        local record, last, blocking, asked, held =
            unpack(redis.call('HMGET', sessions, 'r' .. resource, 'n', 'b',
                              'c', 'i'))

        if record then
            local epoch, sid = split(record)

            return { sid .. ':' .. epoch }, last, blocking, asked, held, nil,
                   true
        end

        -- 8.5.3.2.1: chat without a match goes as to the bare JID

        if kind ~= 'c' then
            return {}
        end
    end

    -- 8.5.2: a bare JID

    if not wanted[kind] then
        return {}
    end

    return targets(sessions, wanted[kind])
end


-- the targets of a bell as an entry of the inbox has them

local function entry_target(list, full)
    local sids = {}

    for i = 1, #list do
        sids[i] = string.match(list[i], '^[^:]*')
    end

    return (full and '=' or '') .. table.concat(sids, ',')
end


-- the targets and the body of a bell with the stanzas from args[first] on

local function one_body(args, first, list)
    local to = table.concat(list, ',')

    if first >= #args - 2 then
        return to, args[first + 1]
    end

    local bodies, lengths = {}, {}

    for i = first + 1, #args, 2 do
        bodies[#bodies + 1] = args[i]
        lengths[#lengths + 1] = #args[i]
    end

    return to .. ' ' .. table.concat(lengths, ','), table.concat(bodies)
end


-- Whether the inbox keeps messages of this kind: normal and chat, but none to a
-- full JID that would come back; args[6] ends in '-' when it keeps only what
-- nobody is there for.

local function kept(args, kind, there)
    if args[6] == '' or (kind ~= 'c' and kind ~= 'n') then
        return false
    end

    if there then
        return string.sub(args[6], -1) ~= '-'
    end

    return kind == 'c' or args[4] == ''
end


--
-- Routes stanzas of one session, one or more that it sent one after the other,
-- to one account (RFC 6121, 8.5): all of them or none, by one bell.
--
-- Their identity, the sending session and its counter, is remembered for a
-- while, so that a repeat of this command is answered as the first was and
-- rings nothing (cluster.md, rule 2; redis/29-seen.lua).  Only what may have
-- run before is looked up.  A record without a subscriber is not an absent
-- session (rule 1): the sender's worker asks again.  To a sender who is blocked
-- nobody is there (XEP-0191, 3.3).  If that is asked for, messages are kept
-- until a session has taken them; when nobody is there, those to the bare JID,
-- or chat to a full one (RFC 6121, 8.5.2.2, 8.5.3.2.1).
--
-- What somebody gets is archived, if that is asked for (XEP-0313), under the
-- number of the bell, which says so.
--
-- keys: sessions, seen of this period, seen of the one before
-- args: channel, sid, kind (c n h g e p i; in capitals: other sessions
--       may get carbons), resource, the sender's full JID,
--       or empty for one who cannot be blocked, what the inbox may hold
--       (behind it " -": it keeps what nobody is there for) or empty: nothing
--       is kept, what the archive may hold or empty, then the identity and the
--       bytes of each stanza, at last whether it may have run before
--       (redis/29-seen.lua)
-- returns: { outcome, number of the bell, whether a session of another worker
--          has asked for carbons (0 or 1; not told for what was seen before) },
--          outcome 'ok', 'none', 'full' (the inbox) or 'busy'; the number of
--          what was kept and nobody heard is 0;
--          the error NOPERM when the bell may not be rung: it did not run
--
local function route(keys, args)
    local sid = args[2]
    local kind = string.lower(args[3])
    local first = 8

    local number, memory

    number, first, memory = before(keys, args, sid, first)

    if number then
        return { 'ok', number }
    end

    local list, last, blocking, asked, held, all, full =
        recipients(keys[1], kind, args[4])
    local from = args[5]

    -- without records nothing tells that there is a block list

    if from ~= '' and (blocking or #list == 0 and args[6] ~= '')
       and blocks(keys[1], from)
    then
        return { 'none', '0' }
    end

    local ar

    if #list == 0 then
        local outcome, n = 'none', nil

        if kept(args, kind, false) then
            ar = archive_for(keys[1], from, args[7])
            outcome, n = keep(keys[1], later(last, ar and ar.last), held, args,
                              first, from, args[6], ar)
        end

        if outcome ~= 'ok' then
            return { outcome, '0' }
        end

        if ar then
            archive(ar, n, args, first)
        end

        remember(keys[2], sid, args, first, '0', memory)

        return { 'ok', '0', '0' }
    end

    local target, now, n

    ar = archive_for(keys[1], from, args[7])

    if kept(args, kind, true) then
        target = entry_target(list, full)
        now, n = room(keys[1], later(last, ar and ar.last), held, args, first,
                      from, args[6], true)

        if not now then
            return { 'full', '0' }
        end
    end

    local elsewhere = '0'

    -- XEP-0280, 7: asked is often the only recipient

    if kind ~= args[3] and asked then
        if #list == 1
           and string.sub(list[1], 1, #asked + 1) == asked .. ':'
        then
            elsewhere = string.match(asked, '^[^.]*')
                        ~= string.match(sid, '^[^.]*') and '1' or '0'
        else
            elsewhere = copies(keys[1], all or redis.call('HGETALL', keys[1]),
                               list, sid, args[5] == '' and 's' or 'r')
        end
    end

    local to, body = one_body(args, first, list)

    n = n or number_after(later(last, ar and ar.last))

    local count, err = publish(args[1], target and 'i' or 'm', n, last or '0',
                               ar and '1' or '0', to, body)

    if not count then
        return redis.error_reply('NOPERM SPUBLISH: ' .. err.err)
    end

    if target then
        append(keys[1], n, args, first, from, target, ar)
        redis.call('HSET', keys[1], 'n', n, 'i', now .. ' ' .. n)

        if not held then
            ends_with(keys[1], beside(keys[1], 'inbox'))
        end

    else
        redis.call('HSET', keys[1], 'n', n)
    end

    -- what is kept needs no listener: its worker reads it when it listens again

    if count == 0 and not target then
        return { 'busy', n }
    end

    if ar then
        archive(ar, n, args, first)
    end

    remember(keys[2], sid, args, first, n, memory)

    return { 'ok', count > 0 and n or '0', elsewhere }
end


--
-- What a session has sent, one stanza or more, for its own account: for the
-- other sessions that have asked for carbons (XEP-0280, 8), and for the archive
-- (XEP-0313).  Their identity is remembered beside that of what the session
-- sends to its own account.  A session whose worker does not listen gets none.
--
-- keys: sessions, seen of this period, seen of the one before
-- args: channel, sid, the recipient's JID, whether somebody may get carbons (0
--       or 1), what the archive may hold or empty, then the identity and the
--       bytes of each stanza, at last whether it may have run before (as of
--       route)
-- returns: { outcome, number of the bell, or of the last one, whether a
--          session of another worker has asked (0 or 1) }, outcome 'ok' or
--          'none': nobody gets one; without the third when it has run before,
--          or nobody may get one
--
local function copy(keys, args)
    local sid = args[2]
    local first = 6

    local number, memory

    number, first, memory = before(keys, args, sid .. '/c', first)

    if number then
        return { 'ok', number }
    end

    local last, asked = unpack(redis.call('HMGET', keys[1], 'n', 'c'))
    local ar = archive_for(keys[1], args[3], args[5])
    local list, elsewhere = {}, args[4] == '1' and '0' or nil

    if elsewhere and asked and asked ~= sid then
        elsewhere = copies(keys[1], redis.call('HGETALL', keys[1]), list, sid,
                           's')
    end

    if #list == 0 and not ar then
        return { 'none', last or '0', elsewhere }
    end

    local n = number_after(later(last, ar and ar.last))

    if #list > 0 then
        local to, body = one_body(args, first, list)
        local count, err = publish(args[1], 'm', n, last or '0', ar and '1'
                                   or '0', to, body)

        if not count then
            return redis.error_reply('NOPERM SPUBLISH: ' .. err.err)
        end

        redis.call('HSET', keys[1], 'n', n)
    end

    if ar then
        archive(ar, n, args, first)
    end

    remember(keys[2], sid .. '/c', args, first, n, memory)

    if #list == 0 then
        return { 'none', last or '0', elsewhere }
    end

    return { 'ok', n, elsewhere }
end


redis.register_function('xmpp1_route', route)
redis.register_function('xmpp1_copy', copy)
