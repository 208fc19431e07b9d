--
-- Session records: bind, presence, the end, and what gives way to a new one.
-- ngx_xmpp_module/store/ngx_xmpp_store_record.c calls them.
--
-- Who goes is told to contacts, in other slots, before it is forgotten:
--
--     priority --presence '-'--> g --told--> -
--        |                       ^
--        '-------- gone ---------'  --unbind--> no record
--
-- State g says that a session is not available any more, and that contacts
-- may not have heard it.  Whoever finds such a record of a worker that has
-- died tells them again.  Without contacts there is no g: one step does both.
--


-- whether contacts may take a session of this state for an available one

local function seen(state)
    return state ~= '-'
end


-- Which sessions, field's not counted, have to give way so that there are no
-- more than max with one more: those that have gone, which only wait for
-- contacts to hear it, then detached ones, then by age.

local function surplus(sessions, field, max)
    local list = {}

    -- the two counters are fields, too

    if redis.call('HLEN', sessions) < max then
        return list
    end

    local all = redis.call('HGETALL', sessions)

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' and all[i] ~= field then
            local epoch, sid, boot, state, flags = split(all[i + 1])

            list[#list + 1] = {
                field = all[i], epoch = tonumber(epoch) or 0,
                sid = sid or '-', boot = boot or '-', state = state or '-',
                flags = flags or '-', gone = state == 'g',
                detached = string.find(flags or '', 'd', 1, true) ~= nil
            }
        end
    end

    table.sort(list, function(a, b)
        if a.gone ~= b.gone then
            return a.gone
        end

        if a.detached ~= b.detached then
            return a.detached
        end

        return a.epoch < b.epoch
    end)

    for i = #list, math.max(#list - max + 1, 0) + 1, -1 do
        list[i] = nil
    end

    return list
end


local entities = {
    ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ["'"] = '&apos;',
    ['"'] = '&quot;'
}


-- The unavailable stanza of one resource made that of another.  The first
-- slash is that of its from: no bare JID has one, and no resource an "'" that
-- is not escaped.

local function gone_of(gone, field)
    local before, after = string.match(gone, "^([^/]*/)[^']*(.*)$")

    if not before then
        return gone
    end

    return before .. string.gsub(string.sub(field, 2), '[&<>\'"]', entities)
           .. after
end


-- Ends what has held a resource: its workers are told, and the others that
-- are available, except the winner, whose field is except.  Only the winner
-- announces (cluster.md, rule 4).  The record is gone, or g, or the winner's.

local function displace(keys, channel, field, epoch, state, gone, except)
    redis.call('HDEL', keys[3], field)

    local _, number = ring(keys[2], channel, 'k', epoch, {},
                           string.sub(field, 2))

    if seen(state) and state ~= 'g' then
        local list = targets(keys[2], available, except)

        if #list > 0 then
            _, number = ring(keys[2], channel, 'm', '0', list, gone)

        else
            note_last(keys[1])
        end
    end

    return number
end


-- What the binding of epoch has left for its worker to tell contacts, as pairs
-- of a resource and a sid: records of that epoch in state g.

local function left(sessions, epoch, reply)
    local all = redis.call('HGETALL', sessions)

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' then
            local e, sid, _, state = split(all[i + 1])

            if e == epoch and state == 'g' then
                reply[#reply + 1] = string.sub(all[i], 2)
                reply[#reply + 1] = sid
            end
        end
    end

    return reply
end


-- A sessions hash without records has only the two counters, which the clock
-- has, too, unless it went back meanwhile; and maybe 'b' and 'c', which are
-- written again with the next record.  What the inbox holds stays.

local function sweep(sessions)
    if redis.call('HLEN', sessions) > 4 then
        return
    end

    local all = redis.call('HGETALL', sessions)
    local now = clock()

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' or all[i] == 'i'
           or (all[i] ~= 'b' and all[i] ~= 'c'
               and tonumber(all[i + 1]) >= tonumber(now))
        then
            return
        end
    end

    redis.call('DEL', sessions)
end


-- The session goes on under a new boot id, since its worker was taken for dead:
-- who cleans up after the old one has nothing to do with it any more, nor with
-- its end, if he had begun with that.

local function register(sessions, field, record, boot, state)
    local epoch, sid, before, was, flags = split(record)

    if before == boot then
        return
    end

    if was == 'g' and state ~= '-' then
        was = state
    end

    redis.call('HSET', sessions, field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. was .. ' '
               .. flags)
end


-- A session may have missed bells, or been away, though it was there all the
-- time: what the inbox holds is told of by a pair of two empty strings.

local function with_inbox(keys, again, reply)
    if again and redis.call('EXISTS', beside(keys[2], 'inbox')) == 1 then
        reply[#reply + 1] = ''
        reply[#reply + 1] = ''
    end

    return reply
end


-- What belongs to no account ends by itself, unless its sessions go on.

local function expire(keys, lifetime)
    if lifetime > 0 then
        redis.call('EXPIRE', keys[2], lifetime)
        redis.call('EXPIRE', keys[3], lifetime)
        redis.call('EXPIRE', keys[4], lifetime)
        redis.call('EXPIRE', blocked_key(keys[2]), lifetime)
        redis.call('EXPIRE', beside(keys[2], 'private'), lifetime)
        redis.call('EXPIRE', beside(keys[2], 'vcard'), lifetime)
        redis.call('EXPIRE', beside(keys[2], 'inbox'), lifetime)
        redis.call('EXPIRE', beside(keys[2], 'archiving'), lifetime)
    end
end


-- The block list for the worker of a record, at the end of the reply; nothing
-- when there is none.  Whoever routes sees by 'b' that there is one.

local function with_blocked(keys, reply)
    local list = redis.call('SMEMBERS', blocked_key(keys[2]))

    if #list > 0 then
        redis.call('HSET', keys[2], 'b', '1')
        reply[#reply + 1] = table.concat(list, '\n')
    end

    return reply
end


--
-- Binds a resource, or puts a lost record back.  An account that has max
-- sessions gets one more all the same, and the first of surplus() ends: a
-- client that comes back under ever new names must not lock its user out.
--
-- keys: account, sessions, presence, roster
-- args: channel, resource, sid, boot, epoch (0: a new one), state,
--       max, the unavailable stanza of this resource,
--       lifetime (seconds; 0: an account's, which has to exist), flags,
--       the digits of its date of creation, when the user logged in; 0: not
--       known
-- returns: { 'ok', number of the last bell, epoch, resource, sid, ... }, the
--          pairs being records in state g whose contacts the caller tells by
--          xmpp1_gone, its own one among them; then two empty strings when the
--          record is put back and the inbox holds anything; and behind them the
--          block list, as lines, when there is one; { 'none' } when there is no
--          such account any more; { 'disabled', '0' }, also for a repeat;
--          { 'conflict', '0', epoch, sid, flags } when fenced: by whom; without
--          the last two by others, who left no place for it
--
local function bind(keys, args)
    local channel, resource, sid = args[1], args[2], args[3]
    local boot, mine = args[4], tonumber(args[5])
    local lifetime = tonumber(args[9] or '0')
    local field = 'r' .. resource

    if lifetime == 0 then
        if redis.call('EXISTS', keys[1]) == 0
           or not same_account(keys[1], args[11])
        then
            return { 'none' }
        end

        if redis.call('HEXISTS', keys[1], 'disabled') == 1 then
            return { 'disabled', '0' }
        end
    end

    local old = redis.call('HGET', keys[2], field)
    local state = args[6]
    local epoch, number, last

    if mine == 0 then
        -- a repeat of this very command finds its own record

        if old then
            local e, s = split(old)

            if s == sid then
                tell_copies(keys[2], channel, sid, args[10] or '-')
                expire(keys, lifetime)
                return with_blocked(keys, left(keys[2], e, {
                    'ok', redis.call('HGET', keys[2], 'n') or '0', e
                }))
            end
        end

        last = surplus(keys[2], field, tonumber(args[7]))
        epoch = raise(keys[2], 'e')

    else
        -- what is not lost stays: a presence under way is newer than state

        if old then
            local e, s, _, _, f = split(old)

            if tonumber(e) > mine then
                return { 'conflict', '0', e, s, f }
            end

            if tonumber(e) == mine and s == sid then
                register(keys[2], field, old, boot, args[6])

                tell_copies(keys[2], channel, sid, args[10] or '-')
                expire(keys, lifetime)
                return with_blocked(keys, with_inbox(keys, true, {
                    'ok', redis.call('HGET', keys[2], 'n') or '0', e
                }))
            end
        end

        -- the record may be missing because it had to give way

        last = surplus(keys[2], field, tonumber(args[7]))

        for i = 1, #last do
            if last[i].epoch > mine and not last[i].detached
               and not last[i].gone
            then
                return { 'conflict', '0', string.format('%.0f', last[i].epoch) }
            end
        end

        epoch = args[5]

        local e = redis.call('HGET', keys[2], 'e')

        if not e or tonumber(e) < mine then
            redis.call('HSET', keys[2], 'e', epoch)
        end
    end

    local _, before, _, was = split(old or '')

    -- the contacts of those who have to go have not heard of it

    local some = before and before ~= sid and seen(was)

    for i = 1, #last do
        some = some or seen(last[i].state)
    end

    some = some and contacts(keys[4], false, block_list(keys[2])) ~= ''

    if some and before and before ~= sid and seen(was) and state == '-' then
        state = 'g'
    end

    redis.call('HSET', keys[2], field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
               .. (args[10] or '-'))

    tell_copies(keys[2], channel, sid, args[10] or '-')

    number = redis.call('HGET', keys[2], 'n') or '0'

    if before and before ~= sid then
        number = displace(keys, channel, field, epoch, was, args[8], field)
        sm_forget(keys[2], before)
    end

    for i = 1, #last do
        if some and seen(last[i].state) then
            redis.call('HSET', keys[2], last[i].field,
                       epoch .. ' ' .. last[i].sid .. ' ' .. last[i].boot
                       .. ' g ' .. last[i].flags)
        else
            redis.call('HDEL', keys[2], last[i].field)
        end
    end

    for i = 1, #last do
        number = displace(keys, channel, last[i].field, epoch, last[i].state,
                          gone_of(args[8], last[i].field), field)
        sm_forget(keys[2], last[i].sid)
    end

    if #last > 0 or before and before ~= sid then
        number = owe_again(keys[2], channel) or number
    end

    expire(keys, lifetime)

    local reply = { 'ok', number, epoch }

    if state == 'g' then
        reply[4], reply[5] = resource, sid
    end

    for i = 1, #last do
        if some and seen(last[i].state) then
            reply[#reply + 1] = string.sub(last[i].field, 2)
            reply[#reply + 1] = last[i].sid
        end
    end

    return with_blocked(keys, with_inbox(keys, mine ~= 0, reply))
end


--
-- Presence of a session: initial, changed or unavailable (RFC 6121, 4.2,
-- 4.4, 4.5), to the account's own available sessions.  The worker goes on to
-- the contacts, who are told here.
--
-- keys: account, sessions, presence, roster, requests
-- args: channel, resource, sid, epoch, state, stanza, initial (0 or 1),
--       lifetime (as of bind)
-- returns: { 'ok', number, epoch, contacts, whether the inbox holds anything
--          for who may get messages from now on (0 or 1), stanzas for this
--          session ... }, the last ones being presence of the others and
--          requests for a subscription (3.1.3); { 'conflict' }
--
local function presence(keys, args)
    local field = 'r' .. args[2]
    local record = redis.call('HGET', keys[2], field)
    local reply = { 'ok', '0', args[4], '', '0' }
    local state = args[5]
    local list, blocked

    if not record then
        return { 'conflict' }
    end

    local epoch, sid, boot, was, flags = split(record)

    if sid ~= args[3] or epoch ~= args[4] then
        return { 'conflict' }
    end

    if state ~= '-' or seen(was) then
        blocked = block_list(keys[2])
        reply[4] = contacts(keys[4], args[7] == '1', blocked)

        if state == '-' and reply[4] ~= '' then
            state = 'g'
        end
    end

    redis.call('HSET', keys[2], field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
               .. flags)

    if args[5] == '-' then
        redis.call('HDEL', keys[3], field)
    else
        redis.call('HSET', keys[3], field, args[6])
    end

    expire(keys, tonumber(args[8] or '0'))

    if not_negative(tonumber(state)) and not not_negative(tonumber(was))
       and redis.call('EXISTS', beside(keys[2], 'inbox')) == 1
    then
        reply[5] = '1'
    end

    list = targets(keys[2], available)

    if #list > 0 then
        local _, number = ring(keys[2], args[1], 'm', '0', list, args[6])
        reply[2] = number

    elseif seen(was) then
        note_last(keys[1])
    end

    if args[7] == '1' then
        local all = redis.call('HGETALL', keys[3])

        for i = 1, #all, 2 do
            if all[i] ~= field then
                reply[#reply + 1] = all[i + 1]
            end
        end

        all = redis.call('HGETALL', keys[5])

        for i = 1, #all, 2 do
            if not (blocked and listed(blocked, all[i])) then
                reply[#reply + 1] = all[i + 1]
            end
        end
    end

    return reply
end


--
-- What a session that was away would have heard of others, as it is now: whom
-- to ask, and presence of the account's other resources.
--
-- keys: sessions, presence, roster
-- args: resource, sid, epoch
-- returns: { 'ok', '0', epoch, contacts, all with letter t, stanzas ... };
--          { 'conflict' }
--
local function snapshot(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    local list = {}

    for what, jid in string.gmatch(contacts(keys[3], true,
                                            block_list(keys[1])),
                                   '(%l)([^\n]+)')
    do
        if what ~= 'f' then
            list[#list + 1] = 't' .. jid
        end
    end

    local reply = { 'ok', '0', args[3], table.concat(list, '\n') }
    local all = redis.call('HGETALL', keys[2])

    for i = 1, #all, 2 do
        if all[i] ~= 'r' .. args[1] then
            reply[#reply + 1] = all[i + 1]
        end
    end

    return reply
end


--
-- What a session's client has asked for that concerns routing.
--
-- keys: sessions
-- args: resource, sid, epoch, flags: all that are set, '-' for none, channel
-- returns: { 'ok' }, { 'conflict' }
--
local function flags(keys, args)
    local field = 'r' .. args[1]
    local epoch, sid, boot, state, was = split(redis.call('HGET', keys[1],
                                                          field) or '')

    if sid ~= args[2] or epoch ~= args[3] then
        return { 'conflict' }
    end

    redis.call('HSET', keys[1], field,
               epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
               .. args[4])

    if string.find(args[4], 'c', 1, true)
       and not string.find(was, 'c', 1, true)
    then
        tell_copies(keys[1], args[5], sid, args[4])
    end

    return { 'ok' }
end


--
-- A session goes, first step: it is not available any more, and its worker, or
-- whoever does it in its place, is to tell contacts.  May be repeated.
--
-- keys: account, sessions, presence, roster
-- args: channel, resource, sid, epoch (0: not known, the answer to bind was
--       lost), its unavailable stanza, held (1: the record is that of a
--       session which has taken the resource and goes on), boot: only when the
--       record has this one, or empty, 1: the worker has died
-- returns: { 'ok', number, epoch, contacts }; without contacts the record is
--          gone, unless it is held; { 'conflict' }: another holds the resource;
--          { 'resumable' }: nothing was done, it is taken over
--
local function gone(keys, args)
    local field = 'r' .. args[2]
    local epoch, sid, boot, state, flags = split(redis.call('HGET', keys[2],
                                                            field) or '')
    local list, number = '', '0'

    if sid ~= args[3] or (args[4] ~= '0' and epoch ~= args[4])
       or (args[7] or '') ~= '' and boot ~= args[7]
    then
        return { 'conflict' }
    end

    if args[8] == '1' and state ~= 'g' and sm_resumable(keys[2], sid) then
        return { 'resumable' }
    end

    if args[6] == '1' then
        return { 'ok', '0', epoch,
                 state == 'g' and contacts(keys[4], false, block_list(keys[2]))
                 or '' }
    end

    if seen(state) then
        list = contacts(keys[4], false, block_list(keys[2]))
    end

    if seen(state) and state ~= 'g' then
        local others = targets(keys[2], available, field)

        if #others > 0 then
            local _

            _, number = ring(keys[2], args[1], 'm', '0', others, args[5])

        else
            note_last(keys[1])
        end
    end

    redis.call('HDEL', keys[3], field)

    if list == '' then
        redis.call('HDEL', keys[2], field)
        sm_forget(keys[2], sid)
        sweep(keys[2])

    else
        redis.call('HSET', keys[2], field,
                   epoch .. ' ' .. sid .. ' ' .. boot .. ' g ' .. flags)
    end

    if list == '' then
        number = owe_again(keys[2], args[1]) or number
    end

    return { 'ok', number, epoch, list }
end


--
-- Contacts were told that a session, which goes on, is not available.
--
-- keys: account, sessions, presence
-- args: channel, resource, sid, epoch
-- returns: { 'ok' }, { 'conflict' }
--
local function told(keys, args)
    local field = 'r' .. args[2]
    local epoch, sid, boot, state, flags = split(redis.call('HGET', keys[2],
                                                            field) or '')

    if sid ~= args[3] or epoch ~= args[4] then
        return { 'conflict' }
    end

    if state == 'g' then
        redis.call('HSET', keys[2], field,
                   epoch .. ' ' .. sid .. ' ' .. boot .. ' - ' .. flags)
    end

    return { 'ok' }
end


--
-- Ends a session, the second step: contacts were told.  Until now messages for
-- its full JID were for its record.
--
-- keys: account, sessions, presence
-- args: channel, resource, sid, epoch, boot (as of gone)
-- returns: { 'ok' } or { 'conflict' }: another holds the resource
--
local function unbind(keys, args)
    local field = 'r' .. args[2]
    local epoch, sid, boot = split(redis.call('HGET', keys[2], field) or '')

    if sid ~= args[3] or epoch ~= args[4]
       or (args[5] or '') ~= '' and boot ~= args[5]
    then
        return { 'conflict' }
    end

    redis.call('HDEL', keys[2], field)
    redis.call('HDEL', keys[3], field)

    sm_forget(keys[2], sid)
    sweep(keys[2])
    owe_again(keys[2], args[1])

    return { 'ok' }
end


redis.register_function('xmpp1_bind', bind)
redis.register_function('xmpp1_presence', presence)
redis.register_function('xmpp1_flags', flags)
redis.register_function{ function_name = 'xmpp1_snapshot', callback = snapshot,
                         flags = { 'no-writes' } }

-- these free memory: a full Redis must not stop them (cluster.md, rule 17)

redis.register_function{ function_name = 'xmpp1_gone', callback = gone,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_told', callback = told,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_unbind', callback = unbind,
                         flags = { 'allow-oom' } }
