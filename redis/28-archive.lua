--
-- The archive: what was said (XEP-0313), beside the inbox, which has what is
-- owed.  Route writes the recipient's, copy the sender's; redis/32-archive.lua
-- reads them (docs/internals/decisions/25-archive.md).
--
-- A stream, key archive: an entry's id is the number of the step that wrote it
-- and a counter within it, its field m the stanza.  Key archived is a hash that
-- says what is in it:
--
--     m               "bytes first last": of all stanzas; the numbers of the
--                     first and of the last entry
--     d               what is archived by default, if the user has said so
--     'i' .. peer     the last ids, 32 at most, of messages with that bare JID
--     'c' .. k .. ' ' .. peer   the 32 before those, and so on
--
-- An id has eight bytes there, seven of the number and one.  Before those of an
-- 'i' there are two numbers of four bytes: the first k that is there, and the
-- next one.  So a page of messages with one peer costs what the page holds, in
-- both directions, however big the archive is.
--
-- The oldest go when there are too many, of entries, bytes or days; a few with
-- each step.  Ids of what went may stay in the hash until 32 of that peer have
-- gone: who reads sees that there is no such entry.
--


-- ids in a field of the index, and bytes of one
local ids_max = 32
local id_size = 8

-- entries that one step removes, at most
local archive_drops = 32


local function id_pack(n, i)
    return struct.pack('>I7B', tonumber(n), i)
end


local function id_at(ids, pos)
    return struct.unpack('>I7B', ids, pos)
end


local function id_text(n, i)
    return string.format('%.0f-%d', n, i)
end


-- whether one id is before another

local function id_before(n, i, other, j)
    return n < other or n == other and i < j
end


-- the bare JID whose keys these are

local function owner(key)
    local tag = string.match(key, '{([^}]*)}')

    return (string.gsub(tag, '%%(%x%x)', function(hex)
        return string.char(tonumber(hex, 16))
    end))
end


-- The other side of a stanza in the archive of own, a bare JID, which has no
-- character that would be escaped.

local function peer_of(stanza, own)
    local root = string.match(stanza, '^[^>]*')
    local from = string.match(root, " from='([^'/]*)") or own

    if from ~= own then
        return from
    end

    return string.match(root, " to='([^'/]*)") or own
end


-- the number of a stream's last entry, or nil

local function last_number(stream)
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]

    return last and string.match(last[1], '^%d+')
end


-- the later one of two numbers, of which one may be nil

local function later(a, b)
    if not a or b and (#b > #a or #b == #a and b > a) then
        return b
    end

    return a
end


-- XEP-0441, 2.2: whether messages to or from this JID are archived; default is
-- what the user has said.

local function archives(sessions, default, jid, peer)
    local full, bare = unpack(redis.call('HMGET', beside(sessions, 'archiving'),
                                         'j' .. jid, 'j' .. peer))
    local one = full or bare

    if one then
        return one == 'a'
    end

    if default ~= 'r' then
        return default == 'a'
    end

    local item = redis.call('HGET', beside(sessions, 'roster'), 'i' .. peer)

    return string.find(subscription(item or nil), 'l', 1, true) ~= nil
end


-- What is to be known before messages with a JID, of this account itself when
-- it is empty, are archived; nil: they are not.  limit is "messages bytes
-- seconds", or empty.  Nothing is written.

local function archive_for(sessions, jid, limit)
    if limit == '' then
        return nil
    end

    if jid == '' then
        jid = owner(sessions)
    end

    local peer = string.match(jid, '^[^/]*')
    local index = beside(sessions, 'archived')
    local held, default, ids =
        unpack(redis.call('HMGET', index, 'm', 'd', 'i' .. peer))

    -- nothing is archived for who has no account, and no name tomorrow

    if not held and redis.call('TTL', sessions) > 0 then
        return nil
    end

    -- the hash goes with its age, what the user has said stays

    if not held then
        default = redis.call('HGET', beside(sessions, 'archiving'), 'd')
    end

    if default and not archives(sessions, default, jid, peer) then
        return nil
    end

    local stream = beside(sessions, 'archive')
    local bytes, first, last = string.match(held or '', '^(%d+) (%d+) (%d+)$')

    return {
        sessions = sessions, stream = stream, index = index, limit = limit,
        peer = peer, ids = ids or '\0\0\0\0\0\0\0\0',
        default = not held and default or nil,
        bytes = tonumber(bytes or '0'), first = first,
        last = last or last_number(stream)
    }
end


-- The index with ids that begin behind position 8: no more than there may be.

local function index_fields(ar)
    local first, next = struct.unpack('>I4I4', ar.ids)
    local fields = {}
    local ids = string.sub(ar.ids, 9)

    if #ids > ids_max * id_size then
        fields[1] = 'c' .. next .. ' ' .. ar.peer
        fields[2] = string.sub(ids, 1, ids_max * id_size)

        ids = string.sub(ids, ids_max * id_size + 1)
        next = next + 1
    end

    fields[#fields + 1] = 'i' .. ar.peer
    fields[#fields + 1] = struct.pack('>I4I4', first, next) .. ids

    return fields
end


-- The index without the ids of a peer up to n and i, if it has 32 of them, or
-- no others.

local function index_drop(index, peer, n, i)
    local ids = redis.call('HGET', index, 'i' .. peer)

    if not ids then
        return
    end

    local first, next = struct.unpack('>I4I4', ids)
    local was = first

    while first < next do
        local field = 'c' .. first .. ' ' .. peer
        local list = redis.call('HGET', index, field)

        if list then
            local m, j = id_at(list, #list - id_size + 1)

            if id_before(n, i, m, j) then
                break
            end

            redis.call('HDEL', index, field)
        end

        first = first + 1
    end

    if first == next then
        local m, j = id_at(ids, #ids - id_size + 1)

        if not id_before(n, i, m, j) then
            redis.call('HDEL', index, 'i' .. peer)
            return
        end
    end

    if first ~= was then
        redis.call('HSET', index, 'i' .. peer,
                   struct.pack('>I4I4', first, next) .. string.sub(ids, 9))
    end
end


-- Removes the oldest entries, a few, while there are too many.  It begins when
-- one is too much, and goes on for some more, so as not to begin each time.

local function archive_trim(ar, n)
    local messages, bytes, seconds = string.match(ar.limit,
                                                  '^(%d+) (%d+) (%d+)$')
    local count = redis.call('XLEN', ar.stream)
    local oldest = seconds == '0' and 0
                   or tonumber(n) - tonumber(seconds) * 1000000

    messages, bytes = tonumber(messages), tonumber(bytes)

    if count <= messages and ar.bytes <= bytes
       and tonumber(ar.first) >= oldest
    then
        return
    end

    messages = messages - math.floor(messages / 64)
    bytes = bytes - math.floor(bytes / 64)

    local list = redis.call('XRANGE', ar.stream, '-', '+', 'COUNT',
                            archive_drops + 1)
    local own = owner(ar.sessions)
    local peers = {}
    local dropped = 0

    -- the last one stays, whatever it is

    for k = 1, #list - 1 do
        local m, i = string.match(list[k][1], '^(%d+)-(%d+)$')
        local stanza = list[k][2][2]

        if count <= messages and ar.bytes <= bytes and tonumber(m) >= oldest
        then
            break
        end

        peers[peer_of(stanza, own)] = { tonumber(m), tonumber(i) }
        ar.bytes = ar.bytes - #stanza
        count = count - 1
        dropped = k
    end

    if dropped == 0 then
        return
    end

    for peer, id in pairs(peers) do
        index_drop(ar.index, peer, id[1], id[2])
    end

    local left = list[dropped + 1][1]

    redis.call('XTRIM', ar.stream, 'MINID', left)
    ar.first = string.match(left, '^%d+')
end


-- Both keys end with what is in them when there is an age: looked at once a
-- day.

local function archive_lives(ar)
    local seconds = tonumber(string.match(ar.limit, '%d+$'))

    for _, key in ipairs({ ar.stream, ar.index }) do
        if seconds > 0 then
            redis.call('EXPIRE', key, seconds + 86400)
        else
            redis.call('PERSIST', key)
        end
    end
end


local function day(n)
    return n and math.floor(tonumber(n) / 86400000000)
end


--
-- Archives the stanzas of one command, of which args[first] is the counter of
-- the first, under that number, which has to be behind ar.last.
--
local function archive(ar, n, args, first)
    local ids = { ar.ids }
    local i = 0

    for k = first + 1, #args, 2 do
        redis.call('XADD', ar.stream, n .. '-' .. i, 'm', args[k])

        ids[#ids + 1] = id_pack(n, i)
        ar.bytes = ar.bytes + #args[k]
        i = i + 1
    end

    ar.ids = table.concat(ids)
    ar.first = ar.first or n

    redis.call('HSET', ar.index, unpack(index_fields(ar)))

    archive_trim(ar, n)

    local held = string.format('%.0f ', ar.bytes) .. ar.first .. ' ' .. n

    if ar.default then
        redis.call('HSET', ar.index, 'm', held, 'd', ar.default)
    else
        redis.call('HSET', ar.index, 'm', held)
    end

    if day(ar.last) ~= day(n) then
        archive_lives(ar)
    end
end
