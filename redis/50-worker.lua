--
-- Workers: who lives, what each one would leave behind, and who cleans up
-- after one that has died (cluster.md, rules 5, 16, 17).
-- ngx_xmpp_module/store/ngx_xmpp_store_worker.c calls them.
--
-- The hash beats has a field for each worker, by its boot id: "counter interval
-- sessions host", of which only the first is looked at here.  The hash claims
-- has one for each that is taken for dead: the boot id of the survivor that
-- cleans up.
--
--     no field --beat--> beats --stands still: claim--> claims --forget--> none
--
-- A boot id that was claimed does not come back to life: its worker, if it was
-- only slow, is told so by its next beat and takes a new one.
--


--
-- A worker lives.  The counters of all go with the answer.
--
-- keys: beats, claims
-- args: boot, "interval sessions host", 1: the first with this boot id
-- returns: { 'ok', boot, 'counter interval ...', ... }; { 'dead' }: it was
--          taken for dead, or Redis lost what it had
--
local function beat(keys, args)
    local old = redis.call('HGET', keys[1], args[1])

    if args[3] ~= '1'
       and (not old or redis.call('HEXISTS', keys[2], args[1]) == 1)
    then
        return { 'dead' }
    end

    local n = tonumber(string.match(old or '', '^%d+')) or 0

    redis.call('HSET', keys[1], args[1],
               string.format('%.0f %s', n + 1, args[2]))

    local all = redis.call('HGETALL', keys[1])
    local reply = { 'ok' }

    for i = 1, #all do
        reply[i + 1] = all[i]
    end

    return reply
end


--
-- A survivor takes it upon itself to clean up after a worker whose counter
-- stands still, or goes on with it.  Who has claimed that before is let alone
-- as long as nobody takes him for dead, too.
--
-- keys: beats, claims
-- args: boot of the survivor, boot of the other, its "counter interval ..." as
--       the survivor has seen it all the while
-- returns: { 'ok' }; { 'busy' }: another does it; { 'none' }: it lives, it is
--          done, or the survivor is taken for dead itself
--
local function claim(keys, args)
    if redis.call('HGET', keys[1], args[2]) ~= args[3]
       or redis.call('HEXISTS', keys[1], args[1]) == 0
       or redis.call('HEXISTS', keys[2], args[1]) == 1
    then
        return { 'none' }
    end

    local other = redis.call('HGET', keys[2], args[2])

    if other and other ~= args[1]
       and redis.call('HEXISTS', keys[1], other) == 1
       and redis.call('HEXISTS', keys[2], other) == 0
    then
        return { 'busy' }
    end

    redis.call('HSET', keys[2], args[2], args[1])

    return { 'ok' }
end


--
-- Nothing of it is left.
--
-- keys: beats, claims
-- args: as of claim
-- returns: { 'ok' }; { 'none' }: another has claimed it, or nobody
--
local function forget(keys, args)
    if redis.call('HGET', keys[2], args[2]) ~= args[1] then
        return { 'none' }
    end

    redis.call('HDEL', keys[1], args[2])
    redis.call('HDEL', keys[2], args[2])

    return { 'ok' }
end


--
-- Some sessions of a worker's list, any of them.
--
-- keys: list
-- args: how many at most
-- returns: { 'ok', sid, full JID, ... }
--
local function listed(keys, args)
    return { 'ok', unpack(redis.call('HRANDFIELD', keys[1], args[1],
                                     'WITHVALUES')) }
end


-- a full Redis must not make the living look dead, nor keep what is to go

redis.register_function{ function_name = 'xmpp1_beat', callback = beat,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_claim', callback = claim,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_forget', callback = forget,
                         flags = { 'allow-oom' } }
redis.register_function{ function_name = 'xmpp1_listed', callback = listed,
                         flags = { 'no-writes' } }
