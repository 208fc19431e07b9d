--
-- Stream management (XEP-0198): the steps; redis/17-sm.lua has what they leave
-- behind.  ngx_xmpp_module/store/ngx_xmpp_store_sm.c calls them.
--


--
-- A session may be resumed; or says so again, to a Redis that may have lost
-- it.  Who says it again may not know of the last count yet, which the client
-- is told (cluster.md, rule 3).
--
-- keys: sessions, sm
-- args: resource, sid, epoch, digest of its token, timeout in milliseconds,
--       base, handled, life, created
-- returns: { 'ok' }, { 'conflict' }
--
local function sm_enable(keys, args)
    local own, _, _, flags = mine(keys[1], args[1], args[2], args[3])

    if not own then
        return { 'conflict' }
    end

    local handled = redis.call('HGET', keys[2], 'handled')

    if not handled or tonumber(handled) < tonumber(args[7]) then
        handled = args[7]
    end

    redis.call('HSET', keys[2], 'token', args[4], 'resource', args[1],
               'timeout', args[5], 'base', args[6], 'handled', handled,
               'epoch', args[3], 'life', args[8] or '0',
               'created', args[9] or '0')

    if string.find(flags, 'd', 1, true) then
        sm_waits(keys[2])
    end

    return { 'ok' }
end


--
-- So many stanzas of its client were handled, which will be told (cluster.md,
-- rule 3).
--
-- keys: sessions, sm
-- args: resource, sid, epoch, how many
-- returns: { 'ok' }, { 'conflict' }
--
local function sm_handled(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    redis.call('HSET', keys[2], 'handled', args[4])

    return { 'ok' }
end


--
-- Whether a session has a connection: letter d of its record.  What it was
-- given by the worker before is not needed any more.
--
-- keys: sessions, sm
-- args: resource, sid, epoch, 1: it has none
-- returns: { 'ok' }, { 'conflict' }
--
local function detach(keys, args)
    local own, boot, state, flags = mine(keys[1], args[1], args[2], args[3])

    if not own then
        return { 'conflict' }
    end

    if args[4] == '1' then
        flags = with(flags, 'd')

        if sm_resumable(keys[1], args[2]) then
            sm_waits(keys[2])
        end

    else
        flags = without(flags, 'd')
        redis.call('HDEL', keys[2], 'since')
    end

    redis.call('HSET', keys[1], 'r' .. args[1],
               args[3] .. ' ' .. args[2] .. ' ' .. boot .. ' ' .. state .. ' '
               .. flags)
    redis.call('HDEL', keys[2], 'state', 'by', 'from', 'take')

    return { 'ok' }
end


--
-- What is known of a session, for who has the token.
--
-- keys: sessions, sm
-- args: sid, digest of the token
-- returns: { 'ok', '0', how many stanzas were handled }: it has ended;
--          { 'ok', '0', the same, resource, when that was asked }: it may be
--          taken; { 'none' }
--
local function sm_find(keys, args)
    local digest, h, resource, epoch, asked =
        unpack(redis.call('HMGET', keys[2], 'token', 'handled', 'resource',
                          'epoch', 'asked'))

    if not h or digest ~= args[2] then
        return { 'none' }
    end

    if epoch then
        local _, sid, _, state =
            split(redis.call('HGET', keys[1], 'r' .. resource) or '')

        if sid == args[1] and state ~= 'g' then
            return { 'ok', '0', h, resource, number_after(asked) }
        end
    end

    return { 'ok', '0', h }
end


-- Whoever has the record of this epoch has what belongs to it from now on: the
-- reply of take and open, from the fourth element on.

local function sm_opened(sessions, sm, epoch, record)
    local holder, by, from = unpack(redis.call('HMGET', sm, 'epoch', 'by',
                                               'from'))

    if holder ~= epoch then
        redis.call('HSET', sm, 'epoch', epoch, 'from', holder)
        from = holder

        -- what its client sends from now on need not be what it has sent

        if by ~= from then
            redis.call('HSET', sm, 'life', epoch)
        end
    end

    local _, _, _, state, flags = split(record)
    local all = redis.call('HMGET', sm, 'handled', 'base', 'timeout', 'token',
                           'state', 'life', 'created', 'since')

    return 'open', state, flags, all[1], all[2], all[3], all[4],
           by == from and all[5] or '', all[6] or '0', all[7] or '0',
           table.concat(redis.call('SMEMBERS', blocked_key(sessions)), '\n'),
           sm_left(all[3], all[8])
end


--
-- Another worker takes a session, for a client that has come there, or because
-- its own has died: its epoch is raised, and its holder hears that.  When there
-- is none who listens, or he has gone and left what there is, it is opened.
-- May be repeated.  It is for the client that has come last: what another has
-- asked for before, and was under way all the while, comes too late.
--
-- keys: account, sessions, sm
-- args: channel, resource, sid, boot: that of the worker, a number of this
--       attempt, digest of the token or empty, the digits of the account's date
--       of creation (as of bind), boot: that of the worker which has died, or
--       empty, when the client has asked for it (as of find), or 0
-- returns: { 'ok', number of the bell, epoch, 'open', state, letters, how many
--          were handled, base, timeout, digest, what was written or empty,
--          life, created, the block list as lines, how long it has still to
--          wait, in milliseconds, the number of the bell before that, unless
--          it is a repeat };
--          { 'ok', number, epoch, 'wait' }: the holder may write;
--          { 'none' };
--          the error NOPERM when the bell may not be rung: it did not run
--
local function sm_take(keys, args)
    local field, sid, boot = 'r' .. args[2], args[3], args[4]
    local record = redis.call('HGET', keys[2], field)
    local epoch, s, old, state, flags = split(record or '')

    if s ~= sid or state == 'g' or not same_account(keys[1], args[7])
       or redis.call('EXISTS', keys[1]) == 0
       or redis.call('HEXISTS', keys[1], 'disabled') == 1
    then
        return { 'none' }
    end

    local digest, holder, by, take, asked, created =
        unpack(redis.call('HMGET', keys[3], 'token', 'epoch', 'by', 'take',
                          'asked', 'created'))
    local this = boot .. ' ' .. args[5]

    if not holder or args[6] ~= '' and args[6] ~= digest
       or not same_account(keys[1], created or '0')
    then
        return { 'none' }
    end

    if old == boot and take == this then
        if holder == epoch then
            return { 'ok', redis.call('HGET', keys[2], 'n') or '0', epoch,
                     sm_opened(keys[2], keys[3], epoch, record) }
        end

        return { 'ok', redis.call('HGET', keys[2], 'n') or '0', epoch, 'wait' }
    end

    if args[8] ~= '' and old ~= args[8]
       or args[9] ~= '0' and asked and later(asked, args[9]) == asked
    then
        return { 'none' }
    end

    local highest, last = unpack(redis.call('HMGET', keys[2], 'e', 'n'))
    local number = number_after(last)

    epoch = number_after(highest)

    -- who may not ring has not moved it

    local count, err = publish(args[1], 'h', number, last or '0', epoch, '', sid
                               .. ' ' .. boot .. (args[6] == '' and ' -' or ''))

    if not count then
        return redis.error_reply('NOPERM SPUBLISH: ' .. err.err)
    end

    -- it is not known whether the client is there: nobody has it yet

    record = epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
             .. with(flags, 'd')

    redis.call('HSET', keys[2], field, record, 'e', epoch, 'n', number)
    redis.call('HSET', keys[3], 'take', this)
    sm_waits(keys[3])

    if args[9] ~= '0' then
        redis.call('HSET', keys[3], 'asked', args[9])
    end

    -- the sid says another worker

    if string.find(flags, 'c', 1, true) then
        redis.call('HSET', keys[2], 'c', '*')
    end

    if by == holder or count <= 1 then
        local reply = { 'ok', number, epoch,
                        sm_opened(keys[2], keys[3], epoch, record) }

        reply[#reply + 1] = last or '0'

        return reply
    end

    return { 'ok', number, epoch, 'wait' }
end


--
-- The one that has taken it does not wait any longer for what the holder may
-- write.  May be repeated.
--
-- keys: sessions, sm
-- args: resource, sid, epoch
-- returns: as of take, opened; { 'conflict' }: another has taken it
--
local function sm_open(keys, args)
    local record = redis.call('HGET', keys[1], 'r' .. args[1])
    local epoch, sid = split(record or '')

    if sid ~= args[2] or epoch ~= args[3]
       or redis.call('HEXISTS', keys[2], 'epoch') == 0
    then
        return { 'conflict' }
    end

    return { 'ok', redis.call('HGET', keys[1], 'n') or '0', epoch,
             sm_opened(keys[1], keys[2], epoch, record) }
end


--
-- The holder of a session gives away what belongs to it: to the one that has
-- taken it, who hears that, or to whoever comes.
--
-- keys: sessions, sm
-- args: channel, resource, sid, epoch, how many stanzas were handled, all the
--       rest
-- returns: { 'ok', number of the bell, or 0 }; { 'conflict' }: too late
--
local function sm_write(keys, args)
    local field = 'r' .. args[2]
    local epoch, sid, boot, state, flags = split(redis.call('HGET', keys[1],
                                                            field) or '')

    if sid ~= args[3] or redis.call('HGET', keys[2], 'epoch') ~= args[4] then
        return { 'conflict' }
    end

    redis.call('HSET', keys[2], 'handled', args[5], 'state', args[6], 'by',
               args[4])

    if epoch == args[4] then
        redis.call('HSET', keys[1], field,
                   epoch .. ' ' .. sid .. ' ' .. boot .. ' ' .. state .. ' '
                   .. with(flags, 'd'))
        sm_waits(keys[2])

        return { 'ok', '0' }
    end

    local _, number = ring(keys[1], args[1], 's', epoch, {}, sid)

    return { 'ok', number }
end


--
-- A session has ended that could have been resumed: how many stanzas of its
-- client were handled.
--
-- keys: sm
-- args: digest of its token, how many, seconds for which that is kept, epoch
-- returns: { 'ok' }, { 'conflict' }: another has it
--
local function sm_end(keys, args)
    local epoch = redis.call('HGET', keys[1], 'epoch')

    if epoch and epoch ~= args[4] then
        return { 'conflict' }
    end

    redis.call('DEL', keys[1])
    redis.call('HSET', keys[1], 'token', args[1], 'handled', args[2])
    redis.call('EXPIRE', keys[1], args[3])

    return { 'ok' }
end


redis.register_function('xmpp1_sm_enable', sm_enable)
redis.register_function('xmpp1_sm_take', sm_take)
redis.register_function('xmpp1_sm_write', sm_write)
redis.register_function('xmpp1_sm_end', sm_end)
redis.register_function{ function_name = 'xmpp1_sm_find', callback = sm_find,
                         flags = { 'no-writes' } }

-- these write no more than a number: a full Redis must not stop who is there

redis.register_function{ function_name = 'xmpp1_sm_handled',
                         callback = sm_handled, flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_sm_open', callback = sm_open,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_detach', callback = detach,
                         flags = { 'allow-oom' } }
