defmodule Palladion.Integration.VersionsTest do
  @moduledoc """
  Servers that don't speak every version of the protocol, or not every compression, and ScyllaDB's extensions.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.{ConnectionError, Endpoint, Error, Result}
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log

  @callers 16

  defmodule NextNode do
    @moduledoc false
    @behaviour Palladion.RetryPolicy

    @impl true
    def decide(%Error{reason: :rate_limit_error}, %{attempt: 1}), do: :retry_next
    def decide(_error, _context), do: :give_up
  end

  # What is not given is found out with the server.
  defp found(protocol \\ []), do: hurried(protocol: Keyword.put_new(protocol, :version, nil))

  # Versions and compressions of the connections for requests and of the control connection.
  defp spoken(name) do
    {:ok, %{endpoints: endpoints, control: control}} = Palladion.status(name)
    connections = for endpoint <- endpoints, connection <- endpoint.connections, do: connection
    for it <- connections ++ List.wrap(control), do: {it.protocol_version, it.compression}
  end

  # The same as the server sees it.
  defp seen(server) do
    for(it <- Testkit.connections(server), it.open, do: {it.version, it.compression})
    |> Enum.uniq()
  end

  describe "without a version the newest is spoken that the server has:" do
    for {versions, expected, asked} <- [
          {[3, 4, 5], 5, 1},
          {[3, 4], 4, 2},
          {[4], 4, 2},
          # It says so at once, so nobody asks for version 4.
          {[3], 3, 2},
          {[5], 5, 1}
        ] do
      test "#{expected} of #{inspect(versions)}" do
        server = Testkit.start_server(tls: false, versions: unquote(versions))
        name = ready_cluster!(server, found())
        await_connections(name)
        assert spoken(name) == [{unquote(expected), nil}, {unquote(expected), nil}]
        assert seen(server) == [{unquote(expected), nil}]
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")

        # The control connection has found it out, and nobody asks again.
        assert length(Testkit.connections(server)) == unquote(asked) + 1
        :ok = Palladion.reconnect(name)
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
        assert seen(server) == [{unquote(expected), nil}]
      end
    end

    test "4 with Snappy, which version 5 hasn't" do
      server = Testkit.start_server(tls: false)
      name = ready_cluster!(server, found(compression: :snappy))
      assert seen(server) == [{4, "snappy"}]
      assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      assert Enum.uniq(spoken(name)) == [{4, "snappy"}]
    end
  end

  describe "a version that is given" do
    for version <- [3, 4, 5], compression <- [nil, :lz4] do
      test "is spoken: #{version}, #{compression || "plain"}" do
        server = Testkit.start_server(tls: false)
        expected = {unquote(version), unquote(compression && to_string(compression))}
        protocol = [version: unquote(version), compression: unquote(compression)]
        name = ready_cluster!(server, found(protocol))
        await_connections(name)
        assert spoken(name) == [expected, expected]
        assert seen(server) == [expected]
        assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
      end
    end

    test "is the only one that is asked for" do
      for {version, versions, newest} <- [{5, [3, 4], 4}, {3, [4, 5], 5}] do
        server = Testkit.start_server(tls: false, versions: versions)
        error = refused(server, version: version)
        assert %{reason: :unsupported_protocol, details: details} = error
        assert %{server_version: ^newest, server_message: message} = details
        assert message =~ "unsupported protocol version (#{version})"
        assert Exception.message(error) =~ "leave it out: then the newest that the server speaks"
        assert seen(server) == []
      end
    end
  end

  describe "a server that speaks none of them" do
    test "and says so in an older one is told" do
      server = Testkit.start_server(tls: false, versions: [], refusal: :v2)
      error = refused(server, [])
      assert %{reason: :unsupported_protocol, details: %{server_version: 2}} = error
      assert Exception.message(error) =~ "it speaks version 2"
      assert Exception.message(error) =~ "Palladion speaks versions 3 to 5"
    end

    test "and closes at once is told" do
      server = Testkit.start_server(tls: false, versions: [], refusal: :close)
      assert %{reason: :connection_closed, details: %{by: "server"}} = refused(server, [])
    end
  end

  describe "a compression that the server doesn't offer" do
    for {compression, offered} <- [{:lz4, ["snappy"]}, {:snappy, ["lz4"]}, {:lz4, []}] do
      test "is an error that says what it offers: #{compression} of #{inspect(offered)}" do
        server = Testkit.start_server(tls: false, compression: unquote(offered))
        wanted = unquote(to_string(compression))
        error = refused(server, compression: unquote(compression))
        assert %{reason: :unsupported_compression, details: details} = error
        assert %{compression: ^wanted, offered: unquote(offered)} = details
        message = Exception.message(error)
        assert message =~ "asked for \"#{wanted}\""
        for other <- unquote(offered), do: assert(message =~ "it offers \"#{other}\"")
        assert message =~ "Take one that it offers as protocol: [compression: ...]"
      end
    end
  end

  # Why there is no connection, by the event.
  defp refused(server, protocol) do
    id = TelemetryEvents.attach()
    name = start_cluster!(server, found(protocol))

    assert_receive {:telemetry, ^id, [_, :connection, :failed], _, %{cluster: ^name} = failed},
                   5_000

    :telemetry.detach(id)
    TelemetryEvents.take(id)

    # Who waits for it is told the same.
    assert {:error, %ConnectionError{reason: :no_connection, details: details}} =
             Palladion.await_ready(name, 100)

    assert {reason, _details} = details.last_error
    assert reason == failed.reason
    assert %ConnectionError{} = failed.error
  end

  describe "a node that speaks only an older version" do
    test "lowers the cluster's when it joins, and no request fails" do
      new = Testkit.start_cluster!(nodes: 1, tls: false)
      # Each knows both nodes, of which the second is where this one listens.
      old = Testkit.start_cluster!(nodes: 2, tls: false, versions: [3, 4])

      resolver = fn %{address: address} ->
        server = if address == "127.0.0.2", do: old, else: new
        {:ok, %Endpoint{address: address, port: server.port}}
      end

      name = ready_cluster!(new, found() ++ [endpoint_resolver: resolver])
      await_connections(name)
      assert Enum.uniq(spoken(name)) == [{5, nil}]
      id = TelemetryEvents.attach(only: pids(name)[Palladion.Cluster.Server])
      stop = :atomics.new(1, [])
      echo = Palladion.prepare!(name, "SELECT echo(int)")

      # What is matched is what was carried out: one that has to be prepared first is not.
      insert = Palladion.prepare!(name, "INSERT void(int)")

      for server <- [new, old],
          do: Testkit.rule(server, equals: "INSERT void(int)", reaction: :void)

      readers =
        for caller <- 1..div(@callers, 2),
            do: Task.async(fn -> ask_on(stop, name, echo, caller * 100_000) end)

      # Nothing that was lost is asked for again unseen.
      writers =
        for _caller <- 1..div(@callers, 2),
            do: Task.async(fn -> write_on(stop, name, insert, 0) end)

      Testkit.add_node(new)
      assert_receive {:telemetry, ^id, [_, :protocol, :lowered], measured, lowered}, 10_000
      TelemetryEvents.check!([:palladion, :protocol, :lowered], measured, lowered)
      assert %{protocol_version: 4, previous_protocol_version: 5} = lowered
      assert lowered.endpoint == "127.0.0.2:#{old.port}"

      eventually("all speak version 4", fn ->
        spoken = spoken(name)
        length(spoken) == 3 and Enum.uniq(spoken) == [{4, nil}]
      end)

      before = Testkit.counters(old).execute
      eventually("the new node is asked, too", fn -> Testkit.counters(old).execute > before end)
      :atomics.put(stop, 1, 1)
      assert readers |> Task.await_many(20_000) |> Enum.concat() == []
      {written, wrong} = writers |> Task.await_many(20_000) |> Enum.unzip()
      assert Enum.concat(wrong) == []
      carried_out = for server <- [new, old], do: Testkit.counters(server).matched
      assert Enum.sum(carried_out) == Enum.sum(written)
      assert Enum.all?(carried_out, &(&1 > 0))
      assert seen(new) == [{4, nil}]
      assert seen(old) == [{4, nil}]

      # Told once, whoever else noticed it.
      :telemetry.detach(id)

      lowered =
        for {[_, :protocol, :lowered], _, _} = event <- TelemetryEvents.take(id), do: event

      assert lowered == []
    end
  end

  # What went wrong: no answer, another's answer, or a message too many.
  defp ask_on(stop, name, echo, n) do
    with 0 <- :atomics.get(stop, 1),
         {:ok, %Result{rows: [%{"c0" => ^n}]}} <- Palladion.execute(name, echo, [n]) do
      ask_on(stop, name, echo, n + 1)
    else
      1 -> mailbox()
      other -> [other]
    end
  end

  # How many were answered, and what went wrong.
  defp write_on(stop, name, insert, written) do
    with 0 <- :atomics.get(stop, 1),
         {:ok, %Result{kind: :void}} <-
           Palladion.execute(name, insert, [written], retry: :none, idempotent: false) do
      write_on(stop, name, insert, written + 1)
    else
      1 -> {written, mailbox()}
      other -> {written, [other]}
    end
  end

  describe "ScyllaDB's ids of metadata" do
    @select "SELECT * FROM t WHERE id = ?"
    @bound [equals: @select, bind: "id int"]

    for version <- [3, 4] do
      test "have results come without metadata in version #{version}, until they change" do
        server = Testkit.start_server(tls: false, versions: [3, 4], metadata_ids: true)
        old = {:rows, columns: "id int, name text", rows: "(1, 'ann')"}
        new = {:rows, columns: "age int, id int, name text", rows: "(30, 1, 'ann')"}
        Testkit.rule(server, @bound ++ [reaction: old])
        name = ready_cluster!(server, found(version: unquote(version)))
        select = Palladion.prepare!(name, @select)
        rows = fn -> Palladion.execute!(name, select, [1]).rows end
        for _ <- 1..2, do: assert(rows.() == [%{"id" => 1, "name" => "ann"}])
        Testkit.alter(server, @bound ++ [reaction: new])
        for _ <- 1..2, do: assert(rows.() == [%{"age" => 30, "id" => 1, "name" => "ann"}])

        executed = for(%{opcode: :execute} = it <- Testkit.requests(server), do: it)
        assert Enum.map(executed, & &1.skip_metadata) == [true, true, true, true]
        # The third was answered with the new columns and their id.
        assert [<<_::128>> = first, first, first, second] = Enum.map(executed, & &1.result_id)
        assert <<_::128>> = second
        assert second != first
        # Nothing had to be prepared again for it.
        assert Testkit.counters(server).prepare == 1
      end
    end

    test "are not asked for where there are none: metadata come each time" do
      server = Testkit.start_server(tls: false, versions: [3, 4])
      name = ready_cluster!(server, found())
      assert {:ok, %Result{rows: [%{"c0" => 7}]}} = Palladion.query(name, "SELECT echo(int)", [7])
      executed = for(%{opcode: :execute} = it <- Testkit.requests(server), do: it)
      assert [%{skip_metadata: false, result_id: nil}] = executed
    end
  end

  describe "ScyllaDB's limit of requests" do
    setup do
      server =
        Testkit.start_cluster!(nodes: 2, tls: false, versions: [3, 4], rate_limit_error: 0xF000)

      %{server: server}
    end

    defp limit(server, operation, by_coordinator) do
      error =
        [code: 0xF000, message: "too many", operation: operation] ++
          [by_coordinator: by_coordinator]

      Testkit.rule(server, contains: "limited", reaction: {:error, error})
    end

    # The nodes that got the request, in their order.
    defp asked(server) do
      for %{statements: [%{text: "SELECT limited"}], node: node} <- Testkit.requests(server),
          do: node
    end

    test "is an error of its own, whatever its code, and not asked for twice", %{server: server} do
      name = follow!(server, found())

      for {operation, by_coordinator} <- [{"write", true}, {"read", false}] do
        Testkit.clear_rules(server)
        limit(server, operation, by_coordinator)
        before = length(asked(server))

        assert {:error, %Error{reason: :rate_limit_error, code: 0xF000} = error} =
                 Palladion.query(name, "SELECT limited", [], idempotent: true)

        assert %{operation: ^operation, by_coordinator: ^by_coordinator} = error.details
        assert Exception.message(error) =~ "(rate_limit_error, code 0xF000): too many"
        assert length(asked(server)) == before + 1
      end
    end

    test "is asked for at another node if the policy says so", %{server: server} do
      name = follow!(server, found() ++ [retry: NextNode])
      limit(server, "write", false)
      assert {:error, %Error{reason: :rate_limit_error}} = Palladion.query(name, "SELECT limited")
      assert Enum.sort(asked(server)) == server.nodes
    end
  end
end
