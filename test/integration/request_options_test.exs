defmodule Palladion.Integration.RequestOptionsTest do
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{Error, Prepared}
  alias Palladion.Test.{Cassandra, TelemetryEvents}

  @moduletag :cassandra

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 2]))
    :ok = Palladion.await_ready(__MODULE__, 30_000)

    for keyspace <- ["options_one", "options_two"] do
      keyspace!(__MODULE__, keyspace)
      create!("CREATE TABLE IF NOT EXISTS #{keyspace}.t (id int PRIMARY KEY, name text)")
      query!("INSERT INTO #{keyspace}.t (id, name) VALUES (0, ?)", [keyspace])
    end

    %{server: server}
  end

  describe "keyspace:" do
    @describetag needs_v5: "a keyspace of the request's own"

    test "is that of names without one, for each request" do
      for keyspace <- ["options_one", "options_two", "options_one"], values <- [[], [0]] do
        where = if values == [], do: "0", else: "?"
        statement = "SELECT name FROM t WHERE id = #{where}"
        assert query!(statement, values, keyspace: keyspace).rows == [%{"name" => keyspace}]
      end

      assert {:error, %Error{reason: :invalid}} =
               Palladion.query(__MODULE__, "SELECT name FROM t WHERE id = 0")
    end

    test "is that of a prepared statement, wherever it is executed" do
      for keyspace <- ["options_one", "options_two"] do
        select = "SELECT name FROM t WHERE id = ?"

        assert %Prepared{keyspace: ^keyspace} =
                 prepared = Palladion.prepare!(__MODULE__, select, keyspace: keyspace)

        assert Palladion.execute!(__MODULE__, prepared, [0]).rows == [%{"name" => keyspace}]
      end
    end

    test "is that of a batch, of texts and of prepared statements" do
      id = System.unique_integer([:positive])
      insert = "INSERT INTO t (id, name) VALUES (?, ?)"
      prepared = Palladion.prepare!(__MODULE__, insert, keyspace: "options_one")

      for keyspace <- ["options_one", "options_two"] do
        Palladion.batch!(
          __MODULE__,
          [{insert, [id, "a"]}, "INSERT INTO t (id, name) VALUES (#{id + 1}, 'b')"],
          keyspace: keyspace
        )

        assert [%{"name" => "a"}] =
                 query!("SELECT name FROM #{keyspace}.t WHERE id = ?", [id]).rows

        assert [%{"name" => "b"}] =
                 query!("SELECT name FROM #{keyspace}.t WHERE id = ?", [id + 1]).rows
      end

      Palladion.batch!(__MODULE__, [{prepared, [id + 2, "c"]}])

      assert [%{"name" => "c"}] =
               query!("SELECT name FROM options_one.t WHERE id = ?", [id + 2]).rows
    end

    test "is refused of statements that were prepared in another one" do
      insert = "INSERT INTO t (id, name) VALUES (?, 'lost')"
      one = Palladion.prepare!(__MODULE__, insert, keyspace: "options_one")

      none =
        Palladion.prepare!(__MODULE__, "INSERT INTO options_one.t (id, name) VALUES (?, 'lost')")

      id = System.unique_integer([:positive])
      two = [keyspace: "options_two"]

      for prepared <- [one, none] do
        for refused <- [
              Palladion.execute(__MODULE__, prepared, [id], two),
              Palladion.submit(__MODULE__, prepared, [id], two),
              Palladion.batch(__MODULE__, [{insert, [id]}, {prepared, [id]}], two)
            ] do
          assert {:error, %Error{reason: :bad_argument, code: nil} = error} = refused

          assert Exception.message(error) =~
                   ~s{prepare it with prepare(…, keyspace: "options_two")}

          assert error.details[:statement] in [nil, 1]
        end

        stream = Palladion.stream(__MODULE__, prepared, [id], two)
        assert_raise Error, ~r/prepare it with/, fn -> Enum.to_list(stream) end
      end

      for keyspace <- ["options_one", "options_two"],
          do: assert(query!("SELECT * FROM #{keyspace}.t WHERE id = ?", [id]).rows == [])

      # The one that it has is no other.
      Palladion.execute!(__MODULE__, one, [id], keyspace: "options_one")
      Palladion.batch!(__MODULE__, [{one, [id]}], keyspace: "options_one")
      assert query!("SELECT * FROM options_one.t WHERE id = ?", [id]).num_rows == 1
    end

    test "is prepared again there after its table has changed" do
      create!("CREATE TABLE IF NOT EXISTS options_one.gone (id int PRIMARY KEY)")
      insert = "INSERT INTO gone (id) VALUES (?)"
      prepared = Palladion.prepare!(__MODULE__, insert, keyspace: "options_one")
      create!("DROP TABLE options_one.gone")
      create!("CREATE TABLE options_one.gone (id int PRIMARY KEY, more text)")
      Palladion.execute!(__MODULE__, prepared, [1])
      query!(insert, [2], keyspace: "options_one")
      assert query!("SELECT id FROM options_one.gone").num_rows == 2
    end
  end

  describe "now_in_seconds:" do
    @describetag needs_v5: "now_in_seconds:"

    test "is the time that TTLs are counted from" do
      id = System.unique_integer([:positive])
      now = System.os_time(:second)

      query!("INSERT INTO options_one.t (id, name) VALUES (?, ?) USING TTL 100", [id, "a"],
        now_in_seconds: now
      )

      select = "SELECT name, ttl(name) AS ttl FROM options_one.t WHERE id = ?"

      for {passed, ttl} <- [{0, 100}, {40, 60}, {99, 1}] do
        assert [%{"name" => "a", "ttl" => ^ttl}] =
                 query!(select, [id], now_in_seconds: now + passed).rows
      end

      assert [%{"name" => nil, "ttl" => nil}] =
               query!(select, [id], now_in_seconds: now + 101).rows
               |> then(&if(&1 == [], do: [%{"name" => nil, "ttl" => nil}], else: &1))
    end
  end

  @tag needs_v4: "a custom payload"
  test "custom_payload: is nothing that the server's own handler looks at" do
    payload = %{"a" => <<0, 255>>, "" => "", "long" => String.duplicate("x", 100_000)}

    for values <- [[], [0]] do
      where = if values == [], do: "0", else: "?"
      statement = "SELECT name FROM options_one.t WHERE id = #{where}"
      result = query!(statement, values, custom_payload: payload)
      assert result.rows == [%{"name" => "options_one"}]
      assert result.custom_payload == %{}
    end
  end

  test "tracing: gives the trace's id" do
    for values <- [[], [0]] do
      where = if values == [], do: "0", else: "?"
      statement = "SELECT name FROM options_one.t WHERE id = #{where}"
      assert query!(statement, values).tracing_id == nil
      id = query!(statement, values, tracing: true).tracing_id
      assert id =~ ~r/\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/
    end

    insert = "INSERT INTO options_one.t (id, name) VALUES (1, 'a')"
    assert Palladion.batch!(__MODULE__, [insert], tracing: true).tracing_id
  end

  @tag needs_v4: "warnings"
  test "what the server warns of is in the result, and told" do
    statements =
      for id <- 1..20, do: {"INSERT INTO options_one.t (id, name) VALUES (?, ?)", [id, "a value"]}

    test = self()

    events =
      TelemetryEvents.capture(fn ->
        send(test, Palladion.batch!(__MODULE__, statements, type: :unlogged))
      end)

    assert_received %Palladion.Result{warnings: [warning | _] = warnings}
    assert warning =~ "20 partitions"

    assert [_start, {[_, :query, :warnings], %{count: count}, metadata}, _stop] = events
    assert count == length(warnings)
    assert %{warnings: [^warning | _], summary: "BATCH options_one.t"} = metadata
    assert is_binary(metadata.node)
    refute inspect(events) =~ "a value"
  end

  describe "timestamps" do
    test "are the client's, in growing order over all processes" do
      create!(
        "CREATE TABLE IF NOT EXISTS options_one.times (p int, n int, v int, PRIMARY KEY (p, n))"
      )

      insert =
        Palladion.prepare!(__MODULE__, "INSERT INTO options_one.times (p, n, v) VALUES (?, ?, ?)")

      before = System.os_time(:microsecond)

      1..32
      |> Enum.map(fn p ->
        Task.async(fn ->
          for n <- 1..50, do: Palladion.execute!(__MODULE__, insert, [p, n, n], idempotent: true)
        end)
      end)
      |> Task.await_many(60_000)

      later = System.os_time(:microsecond)

      rows = query!("SELECT p, n, writetime(v) FROM options_one.times", [], rows: :tuples).rows

      assert length(rows) == 32 * 50
      times = for {_p, _n, time} <- rows, do: time
      assert length(Enum.uniq(times)) == length(times)
      assert Enum.all?(times, &(&1 in before..(later + length(times))))

      for {_p, rows} <- Enum.group_by(rows, &elem(&1, 0)) do
        in_order = rows |> Enum.sort_by(&elem(&1, 1)) |> Enum.map(&elem(&1, 2))
        assert in_order == Enum.sort(in_order)
      end
    end

    test "make the later of two writes win, whatever the server's clock" do
      id = System.unique_integer([:positive])

      for name <- ~w(a b c d e f g h) do
        query!("INSERT INTO options_one.t (id, name) VALUES (?, ?)", [id, name])

        assert query!("SELECT name FROM options_one.t WHERE id = ?", [id]).rows == [
                 %{"name" => name}
               ]
      end
    end

    test "are the server's, or given, where a request says so" do
      for {options, time} <- [
            {[timestamp: 1_000], 1_000},
            {[timestamp: -5], -5},
            {[timestamp: :server], :now},
            {[timestamp: :client], :now},
            {[], :now}
          ],
          values <- [:bound, :written] do
        id = System.unique_integer([:positive])
        before = System.os_time(:microsecond)

        case values do
          :bound ->
            query!("INSERT INTO options_one.t (id, name) VALUES (?, ?)", [id, "a"], options)

          :written ->
            query!("INSERT INTO options_one.t (id, name) VALUES (#{id}, 'a')", [], options)
        end

        written = writetime(id)
        if time == :now, do: assert_now(written, before), else: assert(written == time)
      end
    end

    test "are the server's for a cluster without client_timestamps:", %{server: server} do
      name = ready_cluster!(server, client_timestamps: false, pool: [size: 1])
      {:ok, entry} = Palladion.Cluster.fetch(name)
      before = Palladion.Timestamps.next(entry.timestamps)
      id = System.unique_integer([:positive])
      insert = "INSERT INTO options_one.t (id, name) VALUES (?, ?)"
      Palladion.query!(name, insert, [id, "a"])
      assert_now(writetime(id), before)

      # Nobody has asked for one.
      assert :atomics.get(entry.timestamps, 1) == before
      Palladion.query!(name, insert, [id, "b"], timestamp: :client)
      assert writetime(id) == :atomics.get(entry.timestamps, 1)
    end

    test "are not made for what reads" do
      {:ok, entry} = Palladion.Cluster.fetch(__MODULE__)
      before = Palladion.Timestamps.next(entry.timestamps)
      query!("SELECT name FROM options_one.t WHERE id = ?", [0])
      query!("  select name from options_one.t where id = 0")
      assert :atomics.get(entry.timestamps, 1) == before
    end
  end

  describe "what a version of the protocol doesn't know" do
    test "is refused before it's sent", %{server: server} do
      for {version, option, needs} <- [
            {4, [keyspace: "options_one"], 5},
            {4, [now_in_seconds: 0], 5},
            {3, [keyspace: "options_one"], 5},
            {3, [custom_payload: %{"a" => "b"}], 4}
          ] do
        name = ready_cluster!(server, protocol: [version: version], pool: [size: 1])
        select = "SELECT name FROM options_one.t WHERE id = ?"

        for refused <- [
              Palladion.query(name, "SELECT * FROM options_one.t", [], option),
              Palladion.query(name, select, [0], option),
              Palladion.batch(name, ["DELETE FROM options_one.t WHERE id = 5"], option)
            ] do
          assert {:error, %Error{reason: :unsupported, code: nil} = error} = refused
          assert %{feature: feature, needs: ^needs, version: ^version} = error.details
          assert is_binary(feature)
          assert Exception.message(error) =~ "needs version #{needs} of the native protocol"
        end
      end
    end

    test "is refused of what is prepared, too", %{server: server} do
      name = ready_cluster!(server, protocol: [version: 4], pool: [size: 1])

      assert {:error, %Error{reason: :unsupported, details: %{needs: 5}}} =
               Palladion.prepare(name, "SELECT * FROM t", keyspace: "options_one")
    end
  end

  defp query!(statement, values \\ [], options \\ []),
    do: Palladion.query!(__MODULE__, statement, values, options)

  defp create!(statement), do: query!(statement, [], timeout: 30_000)

  # The server's clock is this machine's, but counts milliseconds: its time may seem to be before the request.
  defp assert_now(written, before),
    do: assert(written in (before - 1_000)..(System.os_time(:microsecond) + 1_000))

  defp writetime(id) do
    [%{"w" => time}] =
      query!("SELECT writetime(name) AS w FROM options_one.t WHERE id = ?", [id]).rows

    time
  end
end
