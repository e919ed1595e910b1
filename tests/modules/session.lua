-- Sixty messages to an aos process, for scripts/compare-loader and its test.
--
-- A line `--- ACTION {fields}` begins a message; what follows, up to the next, is its data, unless the fields have some.
-- Fields are JSON: `as` names who signs it (`owner`, else a stranger), `data` is its data, others are its tags.
-- Every answer must be a function of the messages alone: no addresses, and no order of a table's keys.

--- Eval
x = (x or 0) + 1; return x
--- Eval
x = x + 1; return x
--- Eval
balances = { alice = 100, bob = 20 }; return balances.alice + balances.bob
--- Eval
function transfer(from, to, amount)
  assert(balances[from] >= amount, "insufficient funds")
  balances[from] = balances[from] - amount
  balances[to] = (balances[to] or 0) + amount
  return balances[to]
end
return transfer("alice", "carol", 30)
--- Eval
transfer("carol", "bob", 31)
--- Eval
return balances.alice .. " " .. balances.bob .. " " .. balances.carol
--- Eval
local keys = {}
for key in pairs(balances) do keys[#keys + 1] = key end
table.sort(keys, function(a, b) return a > b end)
return table.concat(keys, " ")
--- Eval
return 7 // 2 .. " " .. 7 / 2 .. " " .. -7 % 3 .. " " .. (5 & 6 | 1 << 40)
--- Eval
return string.format("%d %5.2f %q %x %s %g", 42, math.pi, "a\nb", 255, tostring(nil), 1e100)
--- Eval
return tostring(1 / 0) .. " " .. tostring(-1 / 0) .. " " .. tostring(math.maxinteger + 1) .. " " .. tostring(2 ^ 53) .. " " .. tostring(1e15)
--- Eval
return (("the quick brown fox"):gsub("%w+", function(word) return word:sub(1, 1):upper() .. word:sub(2) end))
--- Eval
local out = {}
for key, value in ("a=1, b=2, c=3"):gmatch("(%w+)=(%w+)") do out[#out + 1] = value .. key end
return table.concat(out, ";")
--- Eval
return ("häß€𝄞"):len() .. " " .. utf8.len("häß€𝄞") .. " " .. utf8.char(228, 8364, 119070) .. ("x"):rep(3, "-")
--- Eval
return table.concat({ string.pack("<i4d", -2, 0.1):byte(1, -1) }, " ")
--- Eval
return ("ab"):rep(500000):len() .. " " .. select("#", ("abc"):byte(1, -1))
--- Eval
json = require("json"); return json.encode({ 1, 2, { 3, "vier" }, true })
--- Eval
local decoded = json.decode('{"a": [1, 2.5, {"b": null}], "c": "\\u00e4\\n", "d": -0.125}')
return decoded.a[2] + decoded.d .. " " .. decoded.c .. " " .. #decoded.a
--- Eval
return json.encode({ nested = { list = { "x", 1.5, false } } })
--- Eval
json.decode('{"a": ')
--- Eval
return json.encode({ text = "quote \" backslash \\ newline \n tab \t" })
--- Eval
generator = coroutine.wrap(function() for i = 1, 100 do coroutine.yield(i * i) end end)
return generator() + generator()
--- Eval
return generator()
--- Eval
worker = coroutine.create(function(a) local b = coroutine.yield(a + 1); error("worker got " .. b) end)
local ok, value = coroutine.resume(worker, 41)
return tostring(ok) .. value .. coroutine.status(worker)
--- Eval
local ok, why = coroutine.resume(worker, "seven")
return tostring(ok) .. " " .. why .. " " .. coroutine.status(worker)
--- Eval
return generator() .. " " .. coroutine.status(worker)
--- Eval
error("plain")
--- Eval
error({ code = 7 })
--- Eval
return nothing.at.all
--- Eval
this is not lua
--- Eval
local function forever() return 1 + forever() end
return forever()
--- Eval
return pcall(error, "caught")
--- Eval
local ok, why = pcall(function() local t = setmetatable({}, { __index = function(_, k) error("no " .. k, 0) end }); return t.field end)
return tostring(ok) .. " " .. why
--- Eval
return select(2, xpcall(function() error("deep", 0) end, function(why) return "handled " .. why end))
--- Eval
y = "set before it fails"; error("and rolled back")
--- Eval
return tostring(y) .. " " .. x
--- Eval
print("one"); print("two", 3); return "three"
--- Eval
Handlers.add("ping", Handlers.utils.hasMatchingTag("Action", "Ping"), function(msg)
  pings = (pings or 0) + 1
  ao.send({ Target = msg.From, Action = "Pong", Data = "pong " .. pings .. " " .. tostring(msg.Data) })
end)
return "added"
--- Ping {"data": "hello"}
--- Ping {"data": "from afar", "as": "stranger"}
--- Eval
return pings
--- Eval {"as": "stranger", "data": "return 'I am not the owner'"}
--- Eval
Handlers.add("sum", Handlers.utils.hasMatchingTag("Action", "Sum"), function(msg)
  local total = 0
  for _, number in ipairs(require("json").decode(msg.Data)) do total = total + number end
  Total = total
  ao.send({ Target = msg.From, Action = "Total", Data = tostring(total), Kind = msg.Tags.Kind or "none" })
end)
return "added"
--- Sum {"data": "[1, 2, 3.5]", "kind": "Fraction"}
--- Sum {"data": "[1, 2"}
--- Eval
return Total
--- Eval
Handlers.add("bad", Handlers.utils.hasMatchingTag("Action", "Bad"), function(msg) kept = 1; error("a bad handler") end)
return "added"
--- Bad
--- Eval
return tostring(kept)
--- Unknown {"data": "nobody handles this", "as": "stranger"}
--- Eval
return #Inbox .. " " .. Inbox[#Inbox].Data
--- Eval
Send({ Target = "TARGET-----------------------------------01", Action = "Greet", Data = "hello", ["X-Number"] = "12" })
return "sent"
--- Eval
ao.send({ Target = ao.id, Tags = { Action = "Self", Place = "here" }, Data = json.encode({ a = 1 }) })
ao.send({ Target = "TARGET-----------------------------------02" })
return "sent two"
--- Eval
ao.spawn("MODULE-----------------------------------03", { Name = "child", Data = "print(1)" })
return "spawned"
--- Eval
for i = 1, 3 do ao.spawn(ao.env.Module.Id, { Tags = { Index = tostring(i) } }) end
return "spawned three"
--- Eval
return os.date("%Y-%m-%d %H:%M:%S %j %a %b %p", 1700000000) .. " " .. os.time({ year = 2024, month = 2, day = 29, hour = 12 })
--- Eval
return tostring(os.time()) .. " " .. tostring(os.clock()) .. " " .. os.date("!%c", 0)
--- Eval
package.loaded["my.module"] = (function() local count = 0; return { next = function() count = count + 1; return count end } end)()
return require("my.module").next()
--- Eval
Handlers.remove("ping")
return require("my.module").next() + generator()
--- Eval
local t = {}
for i = 1, 2000 do t[i] = (i * 7919) % 2003 end
table.sort(t)
return t[1] .. " " .. t[1000] .. " " .. t[2000] .. " " .. tostring(math.type(t[5]))
--- Eval
return math.random(1000) .. " " .. math.random(1000) .. " " .. #ao.env.Process.Id
