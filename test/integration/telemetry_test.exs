defmodule Palladion.Integration.TelemetryTest do
  @moduledoc """
  Every event there is, from what really happens, with exactly the keys that are declared.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.{ConnectionError, Error}
  alias Palladion.Test.{ChildVM, Leaks, TelemetryChild, TelemetryEvents, Testkit}

  @moduletag :capture_log

  @password "of the telemetry's role"
  @canary "a value that nobody is told"

  setup do
    id = TelemetryEvents.attach()
    on_exit(fn -> :telemetry.detach(id) end)
    %{id: id}
  end

  defp secure!(options \\ []) do
    Testkit.start_cluster!([nodes: 3, user: "ann", password: @password] ++ options)
  end

  # The first event of this kind that is as wanted; the others stay.
  defp await_event(id, name, suffix, wanted \\ fn _metadata -> true end) do
    event = [:palladion | suffix]

    receive do
      {:telemetry, ^id, ^event, measurements, %{cluster: ^name} = metadata} = message ->
        TelemetryEvents.check!(event, measurements, metadata)

        if wanted.(metadata) do
          metadata
        else
          found = await_event(id, name, suffix, wanted)
          send(self(), message)
          found
        end
    after
      5_000 -> flunk("there was no #{inspect(event)} as wanted")
    end
  end

  defp at(address), do: &(&1.address == address)

  test "a cluster that starts: connections, handshakes, logins, nodes", %{id: id} do
    server = secure!()
    name = follow!(server, pool: [size: 2])
    port = server.port
    assert %{endpoint: "localhost:" <> _} = await_event(id, name, [:control, :opened])
    await_event(id, name, [:topology, :refreshed])

    for {node, n} <- Enum.with_index(server.nodes, 1) do
      host_id = "00000000-0000-4000-8000-00000000000#{n}"
      added = await_event(id, name, [:node, :added], at(node))
      assert %{host_id: ^host_id, port: ^port, datacenter: "datacenter1", rack: "rack1"} = added
      assert %{host_id: ^host_id, address: ^node} = await_event(id, name, [:node, :up], at(node))
    end

    eventually("all is told", fn -> Enum.count(mailbox(), &pool_changed?/1) == 6 end)
    events = TelemetryEvents.take(id)
    of = fn event -> for({[:palladion | ^event], _, %{cluster: ^name} = it} <- events, do: it) end
    opened = of.([:connection, :opened])
    assert Enum.frequencies_by(opened, & &1.role) == %{control: 1, pool: 6}
    assert Enum.frequencies_by(opened, & &1.handshake) == %{full: 4, resumed: 3}
    assert [%{node: nil, datacenter: nil}] = for(it <- opened, it.role == :control, do: it)

    for it <- opened, it.role == :pool do
      assert %{tls_version: "1.3", tls_cipher: "TLS_" <> _, datacenter: "datacenter1"} = it
      assert it.endpoint == "#{it.address}:#{port}"
      assert it.verified_name in ["localhost", it.address]
    end

    handshakes = of.([:handshake, :stop])
    assert Enum.frequencies_by(handshakes, & &1.resumed?) == %{false: 4, true: 3}
    assert Enum.frequencies_by(handshakes, & &1.role) == %{control: 1, pool: 6}

    for it <- handshakes do
      assert %{tls_version: "1.3", tls_group: "" <> _, tls_cipher: "TLS_" <> _} = it
      assert it.peer_not_after > System.system_time(:second)
      assert it.verified_name in ["localhost", it.address]
    end

    assert [%{endpoint: _, verified_name: _} | _] = of.([:session_cache, :stored])
    assert [%{authenticator: "org.apache.cassandra." <> _} | _] = logins = of.([:login, :stop])
    assert length(logins) == 7

    changed = for {[_, :pool, :changed], it, _} <- events, do: {it.open, it.wanted}
    assert Enum.frequencies(changed) == %{{1, 2} => 3, {2, 2} => 3}
  end

  # What is told last of a connection that was opened.
  defp pool_changed?({:telemetry, _id, [_, :pool, :changed], _, _}), do: true
  defp pool_changed?(_other), do: false

  test "nodes that come, go, move and are lost", %{id: id} do
    server = secure!()
    name = follow!(server)
    Testkit.add_node(server)
    assert %{address: "127.0.0.4"} = await_event(id, name, [:node, :added], at("127.0.0.4"))
    # It isn't on the certificate.
    assert %{reason: :address_mismatch, role: :pool, retry_in: retry_in} =
             await_event(id, name, [:connection, :failed], at("127.0.0.4"))

    assert is_integer(retry_in)
    assert %{address: "127.0.0.4"} = await_event(id, name, [:node, :down])
    Testkit.remove_node(server, "127.0.0.4")
    assert %{address: "127.0.0.4"} = await_event(id, name, [:node, :removed])

    Testkit.certificate(server, cert: ["localhost", "nodes", "127.0.0.33"])
    Testkit.move_node(server, "127.0.0.3", "127.0.0.33")
    moved = await_event(id, name, [:node, :moved])
    assert %{address: "127.0.0.33", previous_address: "127.0.0.3", host_id: host_id} = moved
    assert moved.previous_port == server.port
    assert %{node: ^host_id} = await_event(id, name, [:connection, :opened], at("127.0.0.33"))

    Testkit.node_down(server, "127.0.0.2")
    closed = await_event(id, name, [:connection, :closed], at("127.0.0.2"))
    assert %{role: :pool, reason: :connection_closed, error: %ConnectionError{}} = closed
    assert %{address: "127.0.0.2"} = await_event(id, name, [:node, :down], at("127.0.0.2"))
    Testkit.node_up(server, "127.0.0.2")
    assert %{address: "127.0.0.2"} = await_event(id, name, [:node, :up], at("127.0.0.2"))
    TelemetryEvents.take(id)
  end

  test "the control connection, which is a connection as well", %{id: id} do
    server = secure!()
    name = follow!(server)
    assert %{address: "127.0.0.1"} = await_event(id, name, [:control, :opened])
    Testkit.node_down(server, "127.0.0.1", event: false)
    assert %{address: "127.0.0.1"} = await_event(id, name, [:control, :closed])
    closed = await_event(id, name, [:connection, :closed], &(&1.role == :control))
    assert %{node: nil, reason: :connection_closed} = closed
    assert %{address: address} = await_event(id, name, [:control, :opened])
    assert address in ["127.0.0.2", "127.0.0.3"]
  end

  test "the schema", %{id: id} do
    server = secure!()
    name = follow!(server)

    for {target, more, expected} <- [
          {"KEYSPACE", [], %{target: :keyspace, keyspace: "shop", name: nil}},
          {"TABLE", [name: "users"], %{target: :table, keyspace: "shop", name: "users"}},
          {"TYPE", [name: "address"], %{target: :type, keyspace: "shop", name: "address"}}
        ],
        {change, told} <- [{"CREATED", :created}, {"UPDATED", :updated}, {"DROPPED", :dropped}] do
      event = [kind: :schema, change: change, target: target, keyspace: "shop"] ++ more
      Testkit.event(server, event)
      changed = await_event(id, name, [:schema, :changed])
      assert Map.delete(changed, :cluster) == Map.put(expected, :change, told)
    end
  end

  test "a login that is refused, by the server or by us", %{id: id} do
    server = secure!()
    wrong = [username: "ann", password: "wrong"]
    name = start_cluster!(server, hurried(auth: wrong))
    refused = await_event(id, name, [:login, :refused])
    assert %{reason: :bad_credentials, error: %ConnectionError{}, cluster: ^name} = refused

    assert %{reason: :bad_credentials, role: :control} =
             await_event(id, name, [:connection, :failed])

    server = secure!(authenticator: "com.example.Thief")
    name = start_cluster!(server, hurried([]))
    refused = await_event(id, name, [:login, :refused])
    assert %{reason: :unknown_authenticator, authenticator: "com.example.Thief"} = refused
  end

  test "a handshake that fails", %{id: id} do
    server = secure!()
    name = start_cluster!(server, hurried(tls: [cacertfile: server.other_cacertfile]))
    failed = await_event(id, name, [:handshake, :failed])
    assert %{reason: :unknown_ca, role: :control, error: %ConnectionError{}} = failed
    assert failed.endpoint == "localhost:#{server.port}"
    assert %{reason: :unknown_ca} = await_event(id, name, [:connection, :failed])
  end

  describe "a request" do
    setup %{id: id} do
      server = secure!()
      name = follow!(server, slow_query_threshold: 200)
      TelemetryEvents.take(id)
      :telemetry.detach(id)
      %{server: server, name: name}
    end

    test "begins and ends, with a result or an error", %{server: server, name: name} do
      Testkit.rule(server, contains: "refused", reaction: {:error, code: "0x2000", message: "no"})

      assert [{[_, :query, :start], _, start}, {[_, :query, :stop], _, stop}] =
               events(fn ->
                 {:ok, _} = Palladion.query(name, "SELECT echo(int) FROM shop.users", [7])
               end)

      assert %{statement: "SELECT echo(int) FROM shop.users", parameterised?: true} = start
      assert %{result: :ok, attempts: 1, node: node, datacenter: "datacenter1"} = stop
      assert %{collection: "shop.users", operation: "SELECT", consistency: :local_one} = stop
      assert stop.telemetry_span_context == start.telemetry_span_context
      assert node in for(n <- nodes(name), do: n.host_id)
      assert stop.address in server.nodes and stop.port == server.port

      assert [_start, {[_, :query, :stop], _, stop}] =
               events(fn -> {:error, _} = Palladion.query(name, "SELECT refused") end)

      assert %{result: :error, reason: :syntax_error, status_code: 0x2000} = stop
      assert %{error: %Error{}, parameterised?: false} = stop

      assert [{[_, :prepare, :start], _, _}, {[_, :prepare, :stop], _, %{result: :ok}}] =
               events(fn -> Palladion.prepare!(name, "SELECT echo(text)") end)
    end

    test "that is slow is told, and what was tried again", %{server: server, name: name} do
      Testkit.rule(server, contains: "late", delay: 250, reaction: :builtin)

      assert [_, {[_, :query, :stop], _, stop}, {[_, :query, :slow], slow, told}] =
               events(fn -> Palladion.query!(name, "SELECT numbers(3) -- late") end)

      assert told == stop
      assert stop.returned_rows == 3
      assert slow.duration > slow.threshold
      assert System.convert_time_unit(slow.threshold, :native, :millisecond) == 200

      error = {:error, code: "0x1001", message: "busy"}
      Testkit.rule(server, contains: "numbers", times: 1, reaction: error)

      assert [_, {[_, :query, :retry], _, retry}, {_, _, %{attempts: 2} = stop}] =
               events(fn -> Palladion.query!(name, "SELECT numbers(1)") end)

      assert %{attempt: 1, decision: :retry_next, reason: :overloaded, error: %Error{}} = retry
      assert retry.address != stop.address
    end

    test "that finds every queue full", %{server: server} do
      Testkit.rule(server, contains: "never", reaction: :never)
      name = follow!(server, pool: [max_in_flight: 1, max_queue: 1])
      id = TelemetryEvents.attach()
      ask = fn -> Palladion.query(name, "SELECT never FROM t", [], timeout: 300) end
      outcomes = 1..30 |> Enum.map(fn _ -> Task.async(ask) end) |> Enum.map(&Task.await/1)
      reasons = for {:error, %ConnectionError{reason: reason}} <- outcomes, do: reason
      assert Enum.sort(Enum.uniq(reasons)) == [:overloaded, :timeout]
      assert %{reason: :overloaded, summary: "SELECT t"} = await_event(id, name, [:overload])
      :telemetry.detach(id)
    end

    test "in two halves is one span, also if it is cancelled or awaited twice", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "never", reaction: :never)

      for {statement, take, reason} <- [
            {"SELECT numbers(1)", &Palladion.await/1, nil},
            {"SELECT never", &Palladion.cancel/1, :cancelled},
            {"SELECT never", &Palladion.await(&1, 20), :timeout},
            {"SELECT numbers(1)", &(Palladion.await(&1) && Palladion.await(&1)), nil},
            {"SELECT numbers(1)", &(Palladion.await(&1) && Palladion.cancel(&1)), nil},
            {"SELECT never", &(Palladion.cancel(&1) && Palladion.await(&1)), :cancelled}
          ] do
        events =
          events(fn ->
            {:ok, pending} = Palladion.submit(name, statement)
            take.(pending)
          end)

        assert [{[_, _, :start], _, start}, {[_, _, :stop], _, %{reason: ^reason} = stop}] =
                 events

        assert start.telemetry_span_context == stop.telemetry_span_context
      end

      # Refused before it was sent.
      assert [_start, {[_, _, :stop], _, %{result: :error}}] =
               events(fn -> {:error, _} = Palladion.submit(name, "SELECT echo(int)", ["x"]) end)
    end

    test "that raises ends with an exception", %{name: name} do
      values = [%Palladion.Test.Structs.Failing{value: @canary}]
      events = events(fn -> catch_throw(Palladion.query(name, "SELECT echo(text)", values)) end)

      assert [{[_, _, :start], _, _}, {[_, :query, :exception], _, raised}] = events
      assert %{kind: :throw, reason: nil, stacktrace: [_ | _]} = raised
      refute inspect(raised, limit: :infinity) =~ @canary
    end

    test "among many of all kinds: every span has its end", %{server: server, name: name} do
      error = {:error, code: "0x1001", message: "busy"}
      Testkit.rule(server, contains: "echo", probability: 0.2, reaction: error)
      Testkit.rule(server, contains: "echo", probability: 0.1, delay: 30, reaction: :builtin)
      Testkit.rule(server, contains: "echo", probability: 0.02, reaction: :close)

      callers =
        for caller <- 1..8 do
          Task.async(fn -> TelemetryEvents.capture(fn -> ask(name, caller, 60) end) end)
        end

      for caller <- callers do
        spans =
          for {[_, _, event], _, %{telemetry_span_context: span}} <- Task.await(caller, 30_000),
              event in [:start, :stop, :exception],
              do: {span, event}

        for {_span, events} <- Enum.group_by(spans, &elem(&1, 0), &elem(&1, 1)) do
          assert [:start, :stop] = events
        end
      end
    end
  end

  defp ask(name, caller, rounds) do
    for n <- 1..rounds do
      statement = "SELECT echo(int) -- #{rem(n, 7)}"
      options = [timeout: Enum.random([5, 20, 2_000]), attempt_timeout: Enum.random([nil, 10])]

      case Enum.random(1..3) do
        1 ->
          Palladion.query(name, statement, [caller], options)

        2 ->
          with {:ok, pending} <- Palladion.submit(name, statement, [caller], options),
               do: Palladion.await(pending)

        3 ->
          with {:ok, pending} <- Palladion.submit(name, statement, [caller], options),
               do: Palladion.cancel(pending)
      end
    end
  end

  # The events of requests that this process makes.
  defp events(fun), do: TelemetryEvents.capture(fun)

  test "nothing that is told holds a bound value or a password", %{id: id} do
    server = secure!()
    name = follow!(server, slow_query_threshold: 1, topology: [refresh_interval: 100])
    error = {:error, code: "0x1001", message: "busy"}
    Testkit.rule(server, contains: "refused", reaction: error)
    {:ok, _} = Palladion.query(name, "SELECT echo(text)", [@canary])
    {:error, _} = Palladion.query(name, "SELECT refused", [], retry: {:default, max_attempts: 2})
    {:error, _} = Palladion.query(name, "SELECT echo(int)", [@canary])
    Palladion.query(name, "CREATE ROLE bob WITH PASSWORD = '#{@password}'")
    Palladion.query(name, "ALTER ROLE bob WITH OPTIONS = {} AND PASSWORD='#{@password}'")
    {:ok, pending} = Palladion.submit(name, "SELECT echo(text)", [@canary])
    Palladion.cancel(pending)
    Testkit.set_password(server, "another")
    Testkit.close_connections(server)
    await_event(id, name, [:login, :refused])
    events = TelemetryEvents.take(id)
    assert length(events) > 30
    text = events |> inspect(limit: :infinity, printable_limit: :infinity) |> Leaks.text()
    assert Leaks.forms(text, @canary) == []
    assert Leaks.forms(text, @password) == []
  end

  test "a cluster without the package tells nothing, and works" do
    server = secure!()
    Testkit.rule(server, contains: "refused", reaction: {:error, code: "0x2000", message: "no"})
    options = options(server, name: DB, slow_query_threshold: 500)
    vm = ChildVM.start(TelemetryChild, options, main: "use_cluster")
    on_exit(fn -> ChildVM.clean_up(vm) end)

    assert ChildVM.receive(vm) == %{
             available?: false,
             query: [%{"c0" => 7}],
             error: :syntax_error,
             await: [%{"c0" => 3}],
             cancel: :ok,
             prepare: [{"c0", "text"}]
           }

    Testkit.wait(server, open: 7)
    ChildVM.send(vm, :nodes)
    assert ChildVM.receive(vm) == for(node <- server.nodes, do: {node, :up})
    assert {0, _ms} = ChildVM.await_exit(vm)
    assert ChildVM.output(vm) =~ "slow_query_threshold: has no effect without the package"
  end
end
