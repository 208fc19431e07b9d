--
-- Carbons (XEP-0280): which sessions of an account have asked for copies, flag
-- c of their records.
--
-- Field 'c' of the sessions hash spares others to look at the records: the sid
-- of the only session that has asked, which begins with the boot id of its
-- worker, '*' when there are several, or it does not.  It never
-- says too little.  The end of a session does not change it; whoever finds
-- that it says too much writes what it is.
--


-- Adds the sessions that get a carbon to list: not sender, nor who is in list
-- already.  all is the sessions hash.  Returns '1' when a session of another
-- worker than sender's has asked, else '0'.

local function copies(sessions, all, list, sender, mark)
    local got, elsewhere, field, only = {}, '0', nil, nil
    local worker = string.match(sender, '^[^.]*')

    for i = 1, #list do
        got[list[i]] = true
    end

    for i = 1, #all, 2 do
        if all[i] == 'c' then
            field = all[i + 1]

        elseif string.sub(all[i], 1, 1) == 'r' then
            local epoch, sid, boot, _, flags = split(all[i + 1])

            if epoch and string.find(flags, 'c', 1, true) then
                local target = sid .. ':' .. epoch

                -- one that was taken over is not where its sid says

                only = (only or boot ~= string.match(sid, '^[^.]*')) and '*'
                       or sid

                if boot ~= worker then
                    elsewhere = '1'
                end

                if sid ~= sender and not got[target] then
                    list[#list + 1] = target .. mark
                end
            end
        end
    end

    if field ~= only then
        if only then
            redis.call('HSET', sessions, 'c', only)
        else
            redis.call('HDEL', sessions, 'c')
        end
    end

    return elsewhere
end


-- A session is there whose flags are these: all workers of the account are
-- told who has asked for carbons, unless it is alone or nobody has.

local function tell_copies(sessions, channel, sid, flags)
    if not string.find(flags, 'c', 1, true) then
        local asked = redis.call('HGET', sessions, 'c')

        if not asked or asked == sid then
            return
        end
    end

    local all = redis.call('HGETALL', sessions)
    local list, alone = {}, true

    for i = 1, #all, 2 do
        if string.sub(all[i], 1, 1) == 'r' then
            local _, other = split(all[i + 1])

            alone = alone and other == sid
        end
    end

    copies(sessions, all, list, '', '')

    if not alone then
        ring(sessions, channel, 'c', '0', list, '')
    end
end
