--
-- Block lists (XEP-0191): whose stanzas an account does not take.  Those who
-- route ask here; redis/50-block.lua changes them.
--
-- The list is a set of prepared JIDs, in the account's key 'blocked'.  Field
-- 'b' of the sessions hash says that there is one: it is read with what is read
-- anyhow, and an account without a list costs nothing more.  So the set's name
-- is not handed in with each call either, it is made of that of the sessions.
--


local function blocked_key(sessions)
    return beside(sessions, 'blocked')
end


-- XEP-0191, 5: the JID, the bare JID, the domain.  A resource of a domain is
-- such a JID itself.

local function shapes(jid)
    local bare = string.match(jid, '^[^/]*')

    return jid, bare, string.match(bare, '@(.*)$') or bare
end


-- Whether a stanza from this full JID is not to be taken; own resources are not
-- blocked, whatever is in the list (XEP-0191, 4): who calls sees to that.

local function blocks(sessions, jid)
    local found = redis.call('SMISMEMBER', blocked_key(sessions), shapes(jid))

    for i = 1, #found do
        if found[i] == 1 then
            return true
        end
    end

    return false
end


-- The whole list as a table, nil when there is none: for whoever goes through
-- the roster.

local function block_list(sessions)
    if not redis.call('HGET', sessions, 'b') then
        return nil
    end

    local all = redis.call('SMEMBERS', blocked_key(sessions))
    local list = {}

    for i = 1, #all do
        list[all[i]] = true
    end

    return list
end


local function listed(list, jid)
    local full, bare, domain = shapes(jid)

    return list[full] or list[bare] or list[domain] or false
end
