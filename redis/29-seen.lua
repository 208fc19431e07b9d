--
-- What a session has sent to an account before, so that a repeat is found
-- (cluster.md, rule 2): of a command whose outcome was not known, and of a
-- client that sends again, after a resume, what it was not told was handled
-- (XEP-0198, 5).  redis/30-route.lua looks here.
--
-- A field of the hash seen:PERIOD is
--
--     counter number
--     counter number life (" " life ":" counter ":" digest) ...
--
-- with the last stanza's counter, and the number of its bell.  A session that
-- may be resumed has lives: one more each time it was rebuilt, when its worker
-- has left nothing.  Then its counter goes back to what its client was told,
-- and the client need not send the same again, nor all of it.  Within one life
-- the counter alone tells a repeat; of another life it is one when the digests
-- are equal, and it comes no later than it came then:
--
--     life 0    5 a   6 b   7 c         told: 4, killed
--     life e    5 b   6 d   7 c   8 a   b and c are repeats, d and a are new
--
-- What the client was told was handled it does not send again: that is dropped.
-- A life is the epoch of who has rebuilt it, 0 for the first one.
--
-- The arguments that are looked at here: the identity of a stanza is its
-- counter, and ":" digest when it may be of another life; the last one of a
-- command is "0": it has not run before; "1": it may have; or "1 life told",
-- told being the counter of the last stanza that the client knows was handled.
--


-- Bytes of what is remembered of one sender: when it is worth a look whether
-- some may be dropped, and when some have to be
local roomy, most = 512, 8192


local function identity(arg)
    local counter, digest = string.match(arg, '^(%d+):?(%x*)$')

    return tonumber(counter), digest, counter
end


-- The item of another life that this stanza repeats, or the same one.

local function repeated(items, life, counter, digest)
    local own = tonumber(life)

    for item, l, c, d in string.gmatch(items, '(( %d+):(%d+):(%x+))') do
        l, c = tonumber(l), tonumber(c)

        if l == own and c == counter
           or d == digest and (l < own and c >= counter
                               or l > own and c <= counter)
        then
            return item, l
        end
    end
end


-- an item goes, or gives its place to another

local function instead(items, item, by)
    local from, to = string.find(items .. ' ', item .. ' ', 1, true)

    return string.sub(items, 1, from - 1) .. by .. string.sub(items, to)
end


local function write_seen(seen, field, value)
    if redis.call('HSET', seen, field, value) == 1 then
        redis.call('EXPIRE', seen, 1800)
    end
end


-- Which stanzas of a command have come before in another life.  They are taken
-- out of the arguments, and are of this life as well.

local function other_life(args, first, memory)
    local i = first

    while i < #args - 1 do
        local counter, digest = identity(args[i])
        local item, life = repeated(memory.items, memory.life, counter, digest)

        if item then
            if life < tonumber(memory.life) then
                memory.items = instead(memory.items, item, ' ' .. memory.life
                                       .. ':' .. args[i])
            end

            table.remove(args, i)
            table.remove(args, i)
        else
            i = i + 2
        end
    end
end


-- What of a command has run before, in the memory of field: the number of its
-- bell when it is all; where the first stanza that is new stands, and, for
-- remember(), what else is known of the sender.

local function before(keys, args, field, first)
    local may, life, told = string.match(args[#args], '^(%d) ?(%d*) ?(%d*)$')

    if may ~= '1' then
        return nil, first
    end

    local memory = life ~= '' and { life = life, told = tonumber(told),
                                    items = '' } or nil
    local seen = redis.call('HGET', keys[2], field)
                 or redis.call('HGET', keys[3], field)

    if not seen then
        return nil, first, memory
    end

    local last, number, of, items =
        string.match(seen, '^(%d+) (%d+) ?(%d*)(.*)$')
    local counter, _, digits = identity(args[#args - 2])

    if memory then
        memory.items = items
    end

    if not memory or (of == '' and '0' or of) == life then
        if tonumber(last) >= counter then
            return number, first, memory
        end

        while tonumber(last) >= identity(args[first]) do
            first = first + 2
        end

        if not memory or life == '0' then
            return nil, first, memory
        end
    end

    -- of an older one: what is known of the newer stays

    if tonumber(life) < (tonumber(of) or 0) then
        memory.head = last .. ' ' .. number .. ' ' .. of
    else
        memory.counter = digits
    end

    other_life(args, first, memory)

    if first < #args - 1 then
        return nil, first, memory
    end

    write_seen(keys[2], field, (memory.head or digits .. ' ' .. number .. ' '
                                .. life) .. memory.items)

    return number, first
end


-- without what the client does not send again, or the oldest

local function shorter(items, told)
    local counter = string.match(items, '^ %d+:(%d+)')

    if tonumber(counter) <= told then
        items = string.gsub(items, ' %d+:(%d+):%x+', function(c)
            return tonumber(c) <= told and '' or nil
        end)
    end

    if #items > most then
        items = string.match(items, ' .*', #items - most / 2) or ''
    end

    return items
end


-- A command has run, from args[first] on, whose bell was n; memory is what
-- before() has returned.

local function remember(seen, field, args, first, n, memory)
    local _, _, digits = identity(args[#args - 2])
    local value = (memory and memory.counter or digits) .. ' ' .. n

    if memory then
        local items = memory.items

        for i = first, #args - 2, 2 do
            items = items .. ' ' .. memory.life .. ':' .. args[i]
        end

        if #items > roomy then
            items = shorter(items, memory.told)
        end

        value = (memory.head or value .. ' ' .. memory.life) .. items
    end

    write_seen(seen, field, value)
end
