--
-- Reading the archive (XEP-0313): pages of it, and what it begins and ends
-- with.  ngx_xmpp_module/store/ngx_xmpp_store_archive.c calls these.
--
-- One step looks at a bounded number of entries, and a page is bounded in
-- entries and bytes: whoever asks goes on from where it ended.
--


-- entries that one step looks at, at most, and how many it reads at once
local archive_looks = 1000
local archive_reads = 16

-- bytes around a stanza when it is sent
local archive_around = 512


local function id_read(text)
    local n, i = string.match(text, '^(%d+)-(%d+)$')

    return tonumber(n), tonumber(i)
end


local function id_entry(stream, id)
    return redis.call('XRANGE', stream, id, id)[1]
end


-- Entries of the whole archive between two ids, or back from the second, one
-- with each call; nil: there are no more.

local function every_entry(stream, low, high, back)
    local list, k = {}, 0
    local more = true

    return function()
        if k == #list and more then
            if back then
                list = redis.call('XREVRANGE', stream, high, low, 'COUNT',
                                  archive_reads)
            else
                list = redis.call('XRANGE', stream, low, high, 'COUNT',
                                  archive_reads)
            end

            k = 0
            more = #list == archive_reads

            if more and back then
                high = '(' .. list[#list][1]
            elseif more then
                low = '(' .. list[#list][1]
            end
        end

        k = k + 1

        return list[k]
    end
end


-- The same of those that a list of ids names, in its order.

local function named_entries(stream, ids, low, high, back)
    local n, i = id_read(low)
    local m, j = id_read(high)
    local k = back and #ids + 1 or 0

    return function()
        while true do
            k = back and k - 1 or k + 1

            local id = ids[k]

            if not id then
                return nil
            end

            if not id_before(id[1], id[2], n, i)
               and not id_before(m, j, id[1], id[2])
            then
                local entry = id_entry(stream, id_text(id[1], id[2]))

                if entry then
                    return entry
                end
            end
        end
    end
end


-- The index of a peer: a function that reads the ids of its k-th field, the
-- first k, and the last one, which is 'i'; nil: there is none.

local function peer_ids(index, peer)
    local ids = redis.call('HGET', index, 'i' .. peer)

    if not ids then
        return nil
    end

    local first, last = struct.unpack('>I4I4', ids)

    local function read(k)
        if k == last then
            return string.sub(ids, 9)
        end

        return redis.call('HGET', index, 'c' .. k .. ' ' .. peer) or ''
    end

    return read, first, last
end


-- The same of those with one peer.

local function peer_entries(stream, index, peer, low, high, back)
    local read, first, last = peer_ids(index, peer)

    if not read then
        return function() end
    end

    local n, i = id_read(low)
    local m, j = id_read(high)
    local from, to = n, i

    if back then
        from, to = m, j
    end

    -- the first field of which the last id is not before that

    local a, b = first, last

    while a < b do
        local k = math.floor((a + b) / 2)
        local ids = read(k)

        local p, q

        if ids ~= '' then
            p, q = id_at(ids, #ids - id_size + 1)
        end

        if not p or id_before(p, q, from, to) then
            a = k + 1
        else
            b = k
        end
    end

    local ids = read(a)
    local pos = back and #ids - id_size + 1 or 1

    return function()
        while true do
            while pos < 1 or pos > #ids do
                a = back and a - 1 or a + 1

                if a < first or a > last then
                    return nil
                end

                ids = read(a)
                pos = back and #ids - id_size + 1 or 1
            end

            local p, k = id_at(ids, pos)

            pos = back and pos - id_size or pos + id_size

            if back and id_before(p, k, n, i)
               or not back and id_before(m, j, p, k)
            then
                return nil
            end

            if not id_before(p, k, n, i) and not id_before(m, j, p, k) then
                local entry = id_entry(stream, id_text(p, k))

                if entry then
                    return entry
                end
            end
        end
    end
end


-- How many messages with a peer there are: ids of what went may be in its first
-- field.

local function peer_count(stream, index, peer)
    local read, first, last = peer_ids(index, peer)
    local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]

    if not read or not entry then
        return 0
    end

    local n, i = id_read(entry[1])
    local ids = read(first)
    local count = (last - first) * ids_max + #read(last) / id_size

    for pos = 1, #ids, id_size do
        local m, j = id_at(ids, pos)

        if not id_before(m, j, n, i) then
            break
        end

        count = count - 1
    end

    return count
end


-- Whether a stanza is from or to a full JID, which is escaped as in it.

local function with_full(stanza, full)
    local root = string.match(stanza, '^[^>]*')

    return string.find(root, " from='" .. full .. "'", 1, true)
           or string.find(root, " to='" .. full .. "'", 1, true)
end


-- Lists of ids, with ' ' between: in order, once each; nil: one is not there.

local function ids_there(stream, text)
    local ids = {}

    for id in string.gmatch(text, '%S+') do
        if not id_entry(stream, id) then
            return nil
        end

        ids[#ids + 1] = { id_read(id) }
    end

    table.sort(ids, function(a, b)
        return id_before(a[1], a[2], b[1], b[2])
    end)

    for k = #ids, 2, -1 do
        if ids[k][1] == ids[k - 1][1] and ids[k][2] == ids[k - 1][2] then
            table.remove(ids, k)
        end
    end

    return ids
end


-- The first id that is not too old, if there is an age.

local function not_too_old(low, seconds)
    if seconds == '0' then
        return low
    end

    local oldest = tonumber(clock()) - tonumber(seconds) * 1000000

    return tonumber(string.match(low, '^%d+')) < oldest
           and id_text(oldest, 0) or low
end


--
-- A page: entries between two ids that match, the first ones, or going back the
-- last ones; in order.  It may have fewer than were asked for, and even none,
-- if there was too much to look at.
--
-- keys: sessions, archive, archived
-- args: resource, sid, epoch, ids that have to be there, with ' ' between,
--       the first and the last id, b (going back) or f, how many, bytes,
--       the bare JID of the other side or empty, its full JID as in a stanza or
--       empty, ids of those that may match, or empty: all, whether all between
--       the first and the last are to be counted (0 or 1), seconds of what is
--       not too old, or 0
-- returns: { 'ok', '0', '0', whether there is no more (0 or 1), where to go on
--          when there is none, how many there are, or empty, id, stanza, ... };
--          { 'missing' }: an id is not there; { 'conflict' }
--
local function archive_page(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    local low, high = not_too_old(args[5], args[14]), args[6]
    local back = args[7] == 'b'
    local max, bytes = tonumber(args[8]), tonumber(args[9])
    local with, full = args[10], args[11]
    local named = ids_there(keys[2], args[12])

    if not named or not ids_there(keys[2], args[4]) then
        return { 'missing' }
    end

    local next_entry, count

    if args[12] ~= '' then
        next_entry = named_entries(keys[2], named, low, high, back)

    elseif with ~= '' then
        next_entry = peer_entries(keys[2], keys[3], with, low, high, back)
        count = args[13] == '1' and peer_count(keys[2], keys[3], with)

    else
        next_entry = every_entry(keys[2], low, high, back)
        count = args[13] == '1' and redis.call('XLEN', keys[2])
    end

    local own = owner(keys[2])
    local found, complete, on = {}, '1', ''

    for looks = 1, archive_looks do
        local entry = next_entry()

        if not entry then
            break
        end

        local stanza = entry[2][2]

        if (with == '' or args[12] == '' or peer_of(stanza, own) == with)
           and (full == '' or with_full(stanza, full))
        then
            bytes = bytes - #stanza - archive_around

            if #found == max or #found > 0 and bytes < 0 then
                complete = '0'
                break
            end

            found[#found + 1] = entry
        end

        if looks == archive_looks then
            complete = '0'
            on = entry[1]
        end
    end

    local reply = { 'ok', '0', '0', complete, on,
                    count and tostring(count) or '' }

    for k = 1, #found do
        local entry = found[back and #found + 1 - k or k]

        reply[#reply + 1] = entry[1]
        reply[#reply + 1] = entry[2][2]
    end

    return reply
end


--
-- What the archive begins and ends with.
--
-- keys: sessions, archive
-- args: resource, sid, epoch, seconds of what is not too old, or 0
-- returns: { 'ok', '0', '0', id, id }, without ids when it is empty;
--          { 'conflict' }
--
local function archive_ends(keys, args)
    if not mine(keys[1], args[1], args[2], args[3]) then
        return { 'conflict' }
    end

    local first = redis.call('XRANGE', keys[2], not_too_old('0-0', args[4]),
                             '+', 'COUNT', 1)[1]

    if not first then
        return { 'ok', '0', '0' }
    end

    local last = redis.call('XREVRANGE', keys[2], '+', '-', 'COUNT', 1)[1]

    return { 'ok', '0', '0', first[1], last[1] }
end


redis.register_function{ function_name = 'xmpp1_archive',
                         callback = archive_page,
                         flags = { 'no-writes' } }
redis.register_function{ function_name = 'xmpp1_archive_ends',
                         callback = archive_ends,
                         flags = { 'no-writes' } }
