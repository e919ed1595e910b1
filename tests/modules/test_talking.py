"""Systems of real modules, unmodified: what they send to each other is delivered, and the tree says what caused what.

`process.wasm` is a fixed program: it answers message number N with `pongoN`, to its sender, and sends all its former
answers again with it, because it never empties its outbox. It has no handlers and takes no code. So no token, no child,
no chain and no room can be made of it; it can be talked to, and two of them talk to each other without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from systems import AOS, WITH_LUA, System, assigning, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hb import Process


@pytest.fixture
def make_system(tmp_path: Path, fetch: Callable[[str], Path]) -> Callable[..., System]:
    """Makes a system that has the compiled forms of the modules named."""
    return lambda *names: System(fetch("modules"), tmp_path / "compiled", *names)


@pytest.fixture
def system(make_system: Callable[..., System]) -> System:
    return make_system(AOS)


# -- a token

TOKEN = """
local bint = require(".bint")(256)
Balances = {}
local function add(account, amount) Balances[account] = tostring(bint(Balances[account] or 0) + amount) end

Handlers.add("mint", "Mint", function(m)
  if m.From ~= Owner then return m.reply({Action = "Mint-Error", Error = "only the owner mints"}) end
  add(m.Recipient, bint(m.Quantity))
  m.reply({Action = "Mint-Notice", Balance = Balances[m.Recipient]})
  Send({Target = m.Recipient, Action = "Credit-Notice", Sender = ao.id, Quantity = m.Quantity})
end)

Handlers.add("balance", "Balance", function(m)
  m.reply({Action = "Balance-Notice", Balance = Balances[m.Recipient or m.From] or "0"})
end)

Handlers.add("transfer", "Transfer", function(m)
  local amount = bint(m.Quantity)
  if amount <= 0 or bint(Balances[m.From] or 0) < amount then
    return m.reply({Action = "Transfer-Error", Error = "insufficient balance", Quantity = m.Quantity})
  end
  add(m.From, -amount)
  add(m.Recipient, amount)
  m.reply({Action = "Debit-Notice", Recipient = m.Recipient, Quantity = m.Quantity})
  Send({Target = m.Recipient, Action = "Credit-Notice", Sender = m.From, Quantity = m.Quantity})
end)
"""

WALLET = """
Token = "%s"
Notes = {}
local marks = {["Credit-Notice"] = "+", ["Debit-Notice"] = "-", ["Transfer-Error"] = "!"}
Handlers.add("note", function(m) return m.From == Token and marks[m.Action] ~= nil end, function(m)
  table.insert(Notes, marks[m.Action] .. m.Quantity)
end)
function Pay(to, amount) Send({Target = Token, Action = "Transfer", Recipient = to, Quantity = amount}) end
"""


def notes(wallet: Process) -> str:
    """Return what the token told a wallet, in order."""
    return str(wallet.eval("return table.concat(Notes, ' ')"))


def balances(token: Process, *wallets: Process) -> list[int]:
    return [int(token.eval(f'return Balances["{wallet.id}"] or 0')) for wallet in wallets]


def test_a_token_moves_from_process_to_process_and_both_are_told(system: System) -> None:
    token = system.aos("token", TOKEN)
    alice, bob = (system.aos(name, WALLET % token.id) for name in ("alice", "bob"))
    minted = token.send("Mint", tags={"recipient": alice.id, "quantity": "100"}, push=True)
    assert system.outline(minted.tree) == tree("""
        token: Mint
          outbox/1 ?: (answer)
          outbox/2 alice: Credit-Notice
    """)
    assert minted.result().outbox[0]["balance"] == "100"
    paid = alice.send("Eval", data=f'Pay("{bob.id}", "30")', push=True)
    assert system.outline(paid.tree) == tree("""
        alice: Eval
          outbox/1 token: Transfer
            outbox/1 alice: Debit-Notice
            outbox/2 bob: Credit-Notice
    """)
    assert balances(token, alice, bob) == [70, 30]
    assert (notes(alice), notes(bob)) == ("+100 -30", "+30")
    credited = paid.tree[-1]
    assert system.outline(bob.path(credited.slot)) == tree("""
        alice: Eval
          outbox/1 token: Transfer
            outbox/2 bob: Credit-Notice
    """)
    assert system.is_intact()


def test_a_transfer_without_the_means_tells_its_sender_only(system: System) -> None:
    token = system.aos("token", TOKEN)
    alice, bob = (system.aos(name, WALLET % token.id) for name in ("alice", "bob"))
    for amount in ("1", "0", "-5"):
        paid = alice.send("Eval", data=f'Pay("{bob.id}", "{amount}")', push=True)
        assert system.outline(paid.tree) == tree("""
            alice: Eval
              outbox/1 token: Transfer
                outbox/1 alice: Transfer-Error
        """)
    assert (notes(alice), notes(bob)) == ("!1 !0 !-5", "")
    mint = f'Send({{Target = Token, Action = "Mint", Recipient = "{alice.id}", Quantity = "9"}})'
    minted = alice.send("Eval", data=mint, push=True)  # the home's key signs it for alice, and owns the token, too
    assert minted.tree[-1].view is not None
    assert minted.tree[-1].view.action == "Mint-Error"
    assert balances(token, alice, bob) == [0, 0]


def test_transfers_of_many_at_once_keep_the_supply_and_the_order(system: System) -> None:
    token = system.aos("token", TOKEN)
    wallets = [system.aos(f"wallet-{number}", WALLET % token.id) for number in range(4)]
    for wallet in wallets:
        token.send("Mint", tags={"recipient": wallet.id, "quantity": "100"})
    for number, wallet in enumerate(wallets):
        following = wallets[(number + 1) % 4]
        wallet.send("Eval", data=" ".join(f'Pay("{following.id}", "{amount}")' for amount in (60, 30, 20, 5)))
    done = system.home.push()
    assert (done.held, done.failed, done.troubles) == (0, 0, {})
    assert sum(balances(token, *wallets)) == 400
    told = [notes(wallet).split() for wallet in wallets]
    assert [[note[1:] for note in each if note[0] != "+"] for each in told] == [["60", "30", "20", "5"]] * 4
    amounts = {mark: sum(int(note[1:]) for each in told for note in each if note[0] == mark) for mark in "+-!"}
    assert amounts["+"] == 400 + amounts["-"]
    assert amounts["!"] > 0
    asked = wallets[0].send(
        "Eval", data="Got = Send({Target = Token, Action = 'Balance'}).receive().Balance", push=True
    )
    assert len(asked.tree) == 3
    assert [int(wallets[0].eval("return Got"))] == balances(token, wallets[0])


# -- children


def test_a_parent_hears_of_its_child_in_a_handler_and_sends_to_it(system: System) -> None:
    parent = system.aos("parent", """
        Handlers.add("born", "Spawned", function(m)
          Born = m.From .. " " .. m.Reference .. " " .. m.Name
          Send({Target = m.Process, Action = "Eval", Data = "Told = 'by ' .. Owner; return Told"})
        end)
    """)  # fmt: skip
    sent = parent.send("Eval", data='ao.spawn(ao._module, {Name = "kid", Color = "red"})', push=True)
    kid = system.home.process(sent.tree[1].process)
    assert system.outline(sent.tree) == tree("""
        parent: Eval
          spawns/1 ?: -
          spawned/1 parent: Spawned
            outbox/1 ?: Eval
    """)
    assert parent.eval("return Born") == f"{parent.id} 1 kid"
    assert kid.result(1).answer == f"by {parent.id}"
    said = kid.definition
    assert (said["from-process"], said["name"], said["color"]) == (parent.id, "kid", "red")
    assert (said["authority"], said["image"]) == (parent.definition["authority"], parent.definition["image"])
    assert system.outline(kid.path(1)) == tree("""
        parent: Eval
          spawned/1 parent: Spawned
            outbox/1 ?: Eval
    """)
    assert system.outline(kid.path(0)) == tree("""
        parent: Eval
          spawns/1 ?: -
    """)
    assert system.is_intact()


def test_a_parent_waits_for_its_child_and_goes_on_with_what_it_answers(system: System) -> None:
    parent = system.aos("parent")
    image = parent.definition["image"]
    code = f"""
        Kid = Spawn("{image}", {{Name = "second"}}).receive().Process
        Send({{Target = Kid, Action = "Eval", Data = "Send({{Target = Owner, Action = 'Hi', Data = Name}})"}})
        Hi = Receive({{Action = "Hi", From = Kid}}).Data
    """
    sent = parent.send("Eval", data=code, push=True)
    assert system.outline(sent.tree) == tree("""
        parent: Eval
          spawns/1 ?: -
          spawned/1 parent: Spawned
            outbox/1 ?: Eval
              outbox/1 parent: Hi
    """)
    assert parent.eval("return Kid .. ' ' .. Hi") == f"{sent.tree[1].process} second"


def test_a_child_that_boots_speaks_for_itself_and_has_children_of_its_own(system: System) -> None:
    parent = system.aos("parent")
    grandchild = "Send({Target = Owner, Action = 'Up', Data = 'grandchild'})"
    child = f'Send({{Target = Owner, Action = "Up", Data = "child"}}) ao.spawn(ao._module, {{["On-Boot"] = "Data", Data = "{grandchild}"}})'
    sent = parent.send("Eval", data=f"ao.spawn(ao._module, {{['On-Boot'] = 'Data', Data = [[{child}]]}})", push=True)
    assert system.outline(sent.tree) == tree("""
        parent: Eval
          spawns/1 ?: -
            outbox/1 parent: Up
            spawns/1 ?: -
              outbox/1 ?: Up
            spawned/1 ?: Spawned
          spawned/1 parent: Spawned
    """)
    child_id = sent.tree[1].process
    assert [node.process for node in sent.tree[3:6]] == [sent.tree[3].process, child_id, child_id]
    assert parent.eval("return Inbox[2].Process .. ' ' .. Inbox[3].Data") == f"{child_id} child"


def test_a_child_obeys_its_parent_and_not_who_owns_the_parent(system: System) -> None:
    parent = system.aos("parent")
    sent = parent.send("Eval", data="ao.spawn(ao._module, {})", push=True)
    kid = system.home.process(sent.tree[1].process)
    assert "New Message From" in kid.send("Eval", data="Stolen = 1").result().answer
    stranger = system.aos("stranger")
    stranger.send("Eval", data=f'Send({{Target = "{kid.id}", Action = "Eval", Data = "Stolen = 2"}})', push=True)
    asked = f'Send({{Target = "{kid.id}", Action = "Eval", Data = "return Owner .. tostring(Stolen)"}})'
    parent.send("Eval", data=asked, push=True)
    assert kid.result().answer == f"{parent.id}nil"


def test_a_child_of_an_image_that_is_not_here_is_a_leaf_that_says_so(system: System) -> None:
    parent = system.aos("parent")
    sent = parent.send("Eval", data='Kid = Spawn("no image", {}).receive().Process', push=True)
    assert system.outline(sent.tree) == tree("""
        parent: Eval
          spawns/1 ?: (image)
    """)
    assert sent.tree[1].says == "no image 'no image' is stored here"
    assert parent.eval("return tostring(Kid)") == "nil"


@pytest.mark.parametrize("module", WITH_LUA)
def test_every_lua_module_spawns_a_child_that_takes_its_parent_for_its_owner(
    make_system: Callable[..., System], module: str
) -> None:
    system = make_system(module)
    parent = system.spawn("parent", module)
    sent = parent.send("Eval", data='ao.spawn(ao.env.Module.Id, {Name = "kid"})', push=True)
    kid = sent.tree[1].process
    assert [node.place for node in sent.tree] == [None, "spawns/1", "spawned/1"]
    assert parent.eval("return Inbox[#Inbox].Process") == kid
    told = f'ao.send({{Target = "{kid}", Action = "Eval", Data = "return Owner"}})'
    answer = parent.send("Eval", data=told, push=True).tree[-1]
    assert system.home.process(kid).result(answer.slot).answer == parent.id


# -- chains

SELLER = 'Handlers.add("price", "Price", function(m) m.reply({Data = tostring(7 * tonumber(m.Count))}) end)'
BROKER = """
Seller = "%s"
Log = {}
Handlers.add("quote", "Quote", function(m)
  table.insert(Log, "asked " .. m.Count)
  local price = Send({Target = Seller, Action = "Price", Count = m.Count}).receive().Data
  table.insert(Log, "told " .. price)
  m.reply({Action = "Quoted", Data = "EUR " .. price})
end)
"""
ASK = 'Got = {} for i = 1, 2 do Got[i] = Send({Target = "%s", Action = "Quote", Count = tostring(i * 10 + %d)}).receive().Data end'


def test_an_answer_comes_back_through_three_processes_that_wait(system: System) -> None:
    seller = system.aos("seller", SELLER)
    broker = system.aos("broker", BROKER % seller.id)
    buyer = system.aos("buyer")
    asked = f'Got = Send({{Target = "{broker.id}", Action = "Quote", Count = "3"}}).receive().Data'
    sent = buyer.send("Eval", data=asked, push=True)
    assert system.outline(sent.tree) == tree("""
        buyer: Eval
          outbox/1 broker: Quote
            outbox/1 seller: Price
              outbox/1 broker: -
                outbox/1 buyer: Quoted
    """)
    assert buyer.eval("return Got") == "EUR 21"
    assert broker.eval("return table.concat(Log, ', ')") == "asked 3, told 21"
    quoted = sent.tree[-1]
    assert buyer.path(quoted.slot) == sent.tree
    assert system.is_intact()


def test_two_who_ask_at_once_each_get_their_own_answers(system: System) -> None:
    seller = system.aos("seller", SELLER)
    broker = system.aos("broker", BROKER % seller.id)
    buyers = [system.aos(name) for name in ("buyer-1", "buyer-2")]
    for number, buyer in enumerate(buyers):
        buyer.send("Eval", data=ASK % (broker.id, number))
    assert system.home.push().delivered == 16
    assert [buyer.eval("return table.concat(Got, ' ')") for buyer in buyers] == ["EUR 70 EUR 140", "EUR 77 EUR 147"]
    log = broker.eval("return table.concat(Log, ' ')").split()
    # The second one asks before the first one is answered: the handler waits twice at the same time.
    assert log[0:8:2] == ["asked", "asked", "told", "told"]


def test_a_forwarded_question_is_answered_to_who_asked_first(system: System) -> None:
    seller = system.aos("seller", SELLER)
    broker = system.aos(
        "broker", f'Handlers.add("f", "Forward", function(m) m.forward("{seller.id}", {{Action = "Price"}}) end)'
    )
    buyer = system.aos("buyer")
    asked = f'Got = Send({{Target = "{broker.id}", Action = "Forward", Count = "5"}}).receive("{seller.id}").Data'
    sent = buyer.send("Eval", data=asked, push=True)
    assert system.outline(sent.tree) == tree("""
        buyer: Eval
          outbox/1 broker: Forward
            outbox/1 seller: Price
              outbox/1 buyer: -
    """)
    assert buyer.eval("return Got") == "35"


def test_a_fork_of_one_who_waits_is_not_answered_and_may_ask_itself(system: System) -> None:
    seller, buyer = system.aos("seller", SELLER), system.aos("buyer")
    asked = f'Got = Send({{Target = "{seller.id}", Action = "Price", Count = "2"}}).receive().Data'
    buyer.send("Eval", data=asked)
    other = buyer.fork(name="other")
    assert other.push().delivered == 0
    assert buyer.push().delivered == 2
    assert (buyer.eval("return Got"), other.eval("return tostring(Got)")) == ("14", "nil")
    assert other.send("Eval", data=asked, push=True).tree[1].view.sender == buyer.home.address()  # type: ignore[union-attr]
    assert other.eval("return Got") == "14"


# -- assignments

READER = """
Read = {}
ao.addAssignable("notes", {Action = "Note"})
Handlers.add("note", "Note", function(m) table.insert(Read, m.From .. " " .. m.Target .. " " .. m.Data) end)
"""


def test_an_assigned_message_is_read_by_who_takes_such_and_by_nobody_else(system: System) -> None:
    desk, closed = system.aos("desk"), system.aos("closed")
    reader = system.aos("reader", READER)
    note = desk.send("Note", data="to be shared", signer="alice")
    sent = desk.send("Eval", data=assigning(note.message, reader, closed), push=True)
    assert system.outline(sent.tree) == tree("""
        desk: Eval
          assignments/1 reader: Note
          assignments/2 closed: Note
            outbox/1 ?: (answer)
    """)
    alice = system.home.address("alice")
    assert reader.eval("return table.concat(Read, ';')") == f"{alice} {desk.id} to be shared"
    assert closed.result(sent.tree[2].slot).outbox[0]["data"] == "Assignment is not trusted by this process!"
    for node in sent.tree[1:3]:
        assert node.view is not None
        assert (node.view.message, node.view.sender) == (note.message, alice)
    assert system.outline(reader.path(sent.tree[1].slot)) == tree("""
        desk: Eval
          assignments/1 reader: Note
    """)
    assert system.is_intact()


def test_a_delivered_message_that_is_assigned_is_still_from_its_process(system: System) -> None:
    author, desk = system.aos("author"), system.aos("desk")
    reader = system.aos("reader", READER)
    note = author.send("Eval", data=f'Send({{Target = "{desk.id}", Action = "Note", Data = "x"}})', push=True).tree[1]
    assert note.view is not None
    desk.send("Eval", data=assigning(note.view.message, reader), push=True)
    assert reader.eval("return table.concat(Read, ';')") == f"{author.id} {desk.id} x"


def test_a_message_is_assigned_once_to_each_process(system: System) -> None:
    desk, reader = system.aos("desk"), system.aos("reader", READER)
    note = desk.send("Note", data="x", signer="alice")
    for _ in range(2):
        desk.send("Eval", data=assigning(note.message, reader), push=True)
    desk.send("Eval", data=assigning(note.message, reader, reader, desk), push=True)
    assert reader.eval("return #Read") == "1"
    assert [view.slot for view in desk.history(0) if view.message == note.message] == [note.slot]


def test_an_assignment_of_what_is_not_here_is_a_leaf_that_says_so(system: System) -> None:
    desk, reader = system.aos("desk"), system.aos("reader", READER)
    nothing = "x" * 43
    sent = desk.send("Eval", data=assigning(nothing, reader), push=True)
    assert (sent.tree[1].reason, sent.tree[1].says) == ("missing", f"no message '{nothing}' is here")
    note = desk.send("Note", signer="alice")
    code = f'ao.assign({{Processes = {{"{nothing}"}}, Message = "{note.message}"}})'
    sent = desk.send("Eval", data=code, push=True)
    assert (sent.tree[1].reason, sent.tree[1].says) == ("missing", f"no process '{nothing}' here")


def test_what_an_assigned_message_causes_is_delivered_by_the_same_push(system: System) -> None:
    desk, last = (
        system.aos("desk"),
        system.aos("last", 'Handlers.add("t", "Tell", function(m) m.reply({Action = "Told"}) end)'),
    )
    reader = system.aos(
        "reader",
        f'{READER} Handlers.prepend("n", "Note", function(m) Send({{Target = "{last.id}", Action = "Tell"}}) end)',
    )
    note = desk.send("Note", data="x", signer="alice")
    sent = desk.send("Eval", data=assigning(note.message, reader), push=True)
    assert system.outline(sent.tree) == tree("""
        desk: Eval
          assignments/1 reader: Note
            outbox/1 last: Tell
              outbox/1 reader: Told
    """)


# -- a room


def test_everybody_in_a_room_of_twenty_hears_each_message_once_and_in_order(system: System) -> None:
    room = system.aos("room", """
        Members = {}
        Handlers.add("join", "Join", function(m)
          table.insert(Members, m.From)
          m.reply({Action = "Joined", Number = tostring(#Members)})
        end)
        Handlers.add("say", "Say", function(m)
          for _, member in ipairs(Members) do Send({Target = member, Action = "Said", Author = m.From, Data = m.Data}) end
        end)
    """)  # fmt: skip
    member = system.aos("member", f"""
        Room = "{room.id}"
        Heard = {{}}
        Handlers.add("said", "Said", function(m) table.insert(Heard, m.Data) end)
        function Say(what) Send({{Target = Room, Action = "Say", Data = what}}) end
    """)  # fmt: skip
    members = [member.fork(name=f"member-{number}") for number in range(20)]
    for each in members:
        each.send("Eval", data='Number = Send({Target = Room, Action = "Join"}).receive().Number')
    assert system.home.push().delivered == 40
    assert sorted(int(each.eval("return Number")) for each in members) == list(range(1, 21))
    for number in (3, 7, 3):
        members[number].send("Eval", data=f'Say("a{number}") Say("b{number}")')
    assert system.home.push().delivered == 6 + 6 * 20
    heard = [each.eval("return table.concat(Heard, ' ')") for each in members]
    assert len(set(heard)) == 1
    assert sorted(heard[0].split()) == ["a3", "a3", "a7", "b3", "b3", "b7"]
    assert [said for said in heard[0].split() if said.endswith("3")] == ["a3", "b3", "a3", "b3"]
    last = members[0].send("Eval", data='Say("last")', push=True).tree
    assert [node.depth for node in last] == [0, 1] + [2] * 20
    assert {node.process for node in last[2:]} == {each.id for each in members}
    assert list(system.home.verify()) == []


# -- process.wasm


def test_process_wasm_answers_who_is_named_as_the_sender(make_system: Callable[..., System]) -> None:
    system = make_system(AOS, "process.wasm")
    pongo, asker = system.spawn("pongo", "process.wasm"), system.aos("asker", """
        Heard = {}
        Handlers.add("heard", function(m) return m.From == Pongo end, function(m) table.insert(Heard, m.Data) end)
    """)  # fmt: skip
    first = asker.send("Eval", data=f'Pongo = "{pongo.id}"; Send({{Target = Pongo, Data = "ping"}})', push=True)
    assert system.outline(first.tree) == tree("""
        asker: Eval
          outbox/1 pongo: -
            outbox/1 ?: (answer)
            outbox/2 asker: -
    """)
    assert pongo.result().output == f"sent pong reply : ping : {asker.id} : yes"
    got = 'Got = Send({Target = Pongo, Data = "ping"}) Got = Receive({From = Pongo}).Data'
    asker.send("Eval", data=got, push=True)
    # It never empties its outbox: the answer to the first message comes again with the one to the second.
    assert asker.eval("return table.concat(Heard, ' ') .. ' ' .. Got") == "pongo2 pongo3 pongo2"
    assert system.is_intact()


def test_two_of_process_wasm_answer_each_other_until_a_budget_ends_it(make_system: Callable[..., System]) -> None:
    system = make_system(AOS, "process.wasm")
    one, two = (system.spawn(name, "process.wasm") for name in ("one", "two"))
    starter = system.aos("starter")
    answer = starter.send("Eval", data=f'Send({{Target = "{two.id}", Data = "x"}})', push=True).tree[-1].view
    assert answer is not None
    # Nobody can have `one` send first. It gets an answer of `two` assigned, and answers that.
    sent = starter.send("Eval", data=assigning(answer.message, one))
    done = starter.push(messages=40)
    assert {stop.reason for stop in done.stops.values()} == {"messages"}
    nodes = list(starter.tree(sent.slot))
    assert {node.reason for node in nodes} == {None, "answer", "messages"}
    assert {one.id, two.id} <= {node.process for node in nodes if node.slot is not None}
    assert system.home.push(messages=1).delivered == 1
    assert list(system.home.verify()) == []
