defmodule Palladion.Telemetry.LogTest do
  # One handler for all: its name is fixed.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias Palladion.{ConnectionError, Error, Telemetry}
  alias Palladion.Telemetry.Span

  @planted "correct horse battery"
  @base %{cluster: DB, statement: "SELECT a FROM shop.users WHERE b = ?", parameterised?: true}
  @peer %{
    cluster: DB,
    endpoint: "db1:9042",
    address: "10.0.0.1",
    port: 9042,
    node: "3f1c",
    role: :pool
  }

  @all [:requests, :retries, :nodes, :connections, :tls]

  setup do
    level = Logger.level()
    Logger.configure(level: :debug)

    on_exit(fn ->
      Logger.configure(level: level)
      Telemetry.detach_default_logger()
    end)
  end

  describe "requests" do
    test "that succeed are not logged" do
      assert lines(fn -> request(%{attempts: 1}) end) == []
    end

    test "that failed have time, place, statement and error" do
      error = %Error{reason: :unavailable, code: 0x1000, message: "Cannot achieve\nconsistency"}
      outcome = %{error: error, attempts: 3, address: "10.0.0.1", port: 9042}
      assert [line] = lines(fn -> request(outcome) end)

      assert line =~
               ~r/\[warning\] Palladion DB: query failed after [\d.]+ ms, 3 attempts at 10.0.0.1:9042: SELECT a FROM shop.users WHERE b = \?: server refused the request \(unavailable, code 0x1000\): Cannot achieve consistency$/
    end

    test "that were slow have the threshold" do
      assert [line] = lines(fn -> request(%{}, %{slow_after: 0}) end)
      assert line =~ ~r/\[warning\] Palladion DB: slow request, [\d.]+ ms of 0.0 ms: SELECT a/
    end

    test "that made the server warn have its words, each" do
      place = %{address: "10.0.0.1", port: 9042}
      warnings = ["Unlogged batch\ncovering 10 partitions", "Too many tombstones"]

      assert [line] =
               lines(fn -> :query |> Span.start(@base) |> Span.warnings(warnings, place) end)

      assert line =~
               "[warning] Palladion DB: the server warns at 10.0.0.1:9042: SELECT shop.users: " <>
                 "Unlogged batch covering 10 partitions; Too many tombstones"
    end

    test "that were slow and failed have one line" do
      error = %ConnectionError{reason: :timeout}
      assert [line] = lines(fn -> request(%{error: error}, %{slow_after: 0}) end)
      assert line =~ "query failed"
    end

    test "that were cancelled have none, however long they took" do
      assert lines(fn -> request(%{cancelled?: true}, %{slow_after: 0}) end) == []
    end

    test "that raised have the exception's name" do
      assert [line] =
               lines(fn ->
                 span = Span.start(:prepare, @base)
                 Span.exception(span, :error, %ArgumentError{message: @planted}, [])
               end)

      assert line =~ ~r/prepare raised ArgumentError after [\d.]+ ms: SELECT a/
      refute line =~ "horse"
    end

    test "whose values are not bound show their summary" do
      statement = "INSERT INTO shop.users (name) VALUES ('#{@planted}')"
      base = %{statement: statement, parameterised?: false, slow_after: 0}
      assert [line] = lines(fn -> request(%{}, base) end)
      assert line =~ ~r/: INSERT shop.users$/
      refute line =~ "horse"
    end

    test "with a password don't show it" do
      for parameterised? <- [true, false] do
        statement = "ALTER ROLE bob WITH PASSWORD = '#{@planted}'"
        base = %{statement: statement, parameterised?: parameterised?, slow_after: 0}
        assert [line] = lines(fn -> request(%{}, base) end)
        assert line =~ "ALTER ROLE"
        refute line =~ "horse"
      end
    end

    test "that are no text, or a long one, are shown as far as they can be" do
      assert [line] = lines(fn -> request(%{}, %{statement: nil, slow_after: 0}) end)
      assert line =~ "a statement that is not shown"

      assert [line] =
               lines(fn -> request(%{}, %{statement: <<255, "SELECT">>, slow_after: 0}) end)

      assert line =~ "<<255"

      long = "SELECT a FROM b WHERE c = ? AND d = '#{String.duplicate("ü", 5_000)}'"
      assert [line] = lines(fn -> request(%{}, %{statement: long, slow_after: 0}) end)
      assert String.ends_with?(line, "…")
      assert String.length(line) < 700
    end

    test "that were tried again say what was decided" do
      error = %ConnectionError{reason: :connection_lost, endpoint: "db1:9042"}

      assert [line] =
               lines(fn ->
                 span = Span.start(:query, @base)
                 Span.retry(span, %{decision: :retry_next, attempt: 1, error: error})
               end)

      assert line =~
               ~r/\[info\] Palladion DB: attempt 1 failed, :retry_next: SELECT shop.users: db1:9042: the connection broke/
    end

    test "that found a queue full" do
      assert [line] =
               lines(fn ->
                 emit([:overload], %{system_time: 1}, %{cluster: DB, reason: :overloaded})
               end)

      assert line =~ "[warning] Palladion DB: request refused, :overloaded: statement"
    end
  end

  describe "nodes" do
    test "have address, place and identity" do
      node = %{
        cluster: DB,
        host_id: "3f1c",
        datacenter: "dc1",
        rack: "r1",
        address: "::1",
        port: 1
      }

      assert [line] = lines(fn -> emit([:node, :down], %{system_time: 1}, node) end)
      assert line =~ "[warning] Palladion DB: node down: [::1]:1 in dc1/r1, host_id 3f1c"

      for change <- [:added, :removed, :up, :moved] do
        assert [line] = lines(fn -> emit([:node, change], %{system_time: 1}, %{cluster: DB}) end)
        assert line =~ ~r/\[info\] Palladion DB: node \w+: node unknown, host_id unknown/
      end
    end
  end

  describe "connections" do
    test "that opened have their TLS session" do
      tls = %{handshake: :resumed, tls_version: "1.3", verified_name: "db1"}

      opened = fn more ->
        emit([:connection, :opened], %{duration: 1_000_000}, Map.merge(@peer, more))
      end

      assert [line] = lines(fn -> opened.(tls) end)

      assert line =~
               "[info] Palladion DB: connection to db1:9042 opened in 1.0 ms (TLS 1.3 resumed, for db1)"

      assert [line] = lines(fn -> opened.(%{role: :control, endpoint: nil}) end)
      assert line =~ "control connection to 10.0.0.1:9042 opened in 1.0 ms (without TLS)"
    end

    test "that failed or were lost have the error" do
      error = %ConnectionError{reason: :unknown_ca, endpoint: "db1:9042"}
      peer = Map.merge(@peer, %{error: error, reason: :unknown_ca, retry_in: 500})

      assert [line] = lines(fn -> emit([:connection, :failed], %{duration: 1}, peer) end)
      assert line =~ ~r/\[warning\] .* connection failed: db1:9042: .* Next attempt in 500 ms\.$/

      assert [line] =
               lines(fn ->
                 emit([:login, :refused], %{duration: 1}, peer |> Map.drop([:role, :retry_in]))
               end)

      assert line =~ ~r/\[warning\] .* login refused: db1:9042: /

      closed = Map.delete(peer, :retry_in)
      assert [line] = lines(fn -> emit([:connection, :closed], %{duration: 1}, closed) end)
      assert line =~ ~r/\[warning\] .* connection lost after [\d.]+ ms: db1:9042: /

      assert [line] =
               lines(fn ->
                 emit([:connection, :closed], %{duration: 1}, %{closed | error: nil})
               end)

      assert line =~ ~r/\[info\] .* connection to db1:9042 closed after/
    end

    test "that was given other logins" do
      more = %{system_time: 1}

      assert [line] = lines(fn -> emit([:auth, :updated], more, %{cluster: DB}) end)

      assert line =~ "[info] Palladion DB: auth: updated, for logins from now on"
    end

    test "that go on with an older version of the protocol" do
      more = %{
        cluster: DB,
        endpoint: "db1:9042",
        protocol_version: 4,
        previous_protocol_version: 5
      }

      assert [line] = lines(fn -> emit([:protocol, :lowered], %{system_time: 1}, more) end)

      assert line =~
               "[warning] Palladion DB: protocol version 4 instead of 5: db1:9042 speaks no newer one"
    end

    test "whose events were dropped" do
      assert [line] = lines(fn -> emit([:events, :dropped], %{count: 7}, %{cluster: DB}) end)
      assert line =~ "[warning] Palladion DB: 7 events dropped"
    end
  end

  describe "TLS" do
    test "handshakes that failed have the error" do
      error = %ConnectionError{reason: :unknown_ca, endpoint: "db1:9042"}
      failed = Map.merge(@peer, %{role: :control, error: error, reason: :unknown_ca})

      assert [line] = lines(fn -> emit([:handshake, :failed], %{duration: 1_000_000}, failed) end)

      assert line =~
               ~r/\[warning\] .* TLS handshake of a control connection failed after 1.0 ms: db1:9042: /
    end

    test "sessions have a line only where the certificate no longer passed" do
      sessions = %{cluster: DB, endpoint: "db1:9042", verified_name: "db1"}

      assert [line] = lines(fn -> emit([:session_cache, :refused], %{count: 2}, sessions) end)
      assert line =~ "[warning] Palladion DB: the certificate of db1:9042 no longer passed"
      assert line =~ "2 refused"

      for change <- [:stored, :evicted, :expired, :purged, :rejected] do
        assert lines(fn -> emit([:session_cache, change], %{count: 2}, sessions) end) == []
      end
    end

    test "reloads say who began them" do
      for {trigger, said} <- [call: "", watch: " because a file has changed"] do
        metadata = %{cluster: DB, trigger: trigger, generation: 1}

        assert [line] = lines(fn -> emit([:tls, :reloaded], %{duration: 1_000_000}, metadata) end)

        assert line =~
                 "[info] Palladion DB: TLS reloaded#{said}, all connections replaced in 1.0 ms"

        problem = %{path: [:tls, :certfile], reason: :unreadable, message: "can't be read"}
        error = %Palladion.ConfigError{name: DB, problems: [problem]}
        failed = %{cluster: DB, trigger: trigger, error: error, reason: :invalid_configuration}
        assert [line] = lines(fn -> emit([:tls, :reload_failed], %{duration: 1}, failed) end)
        assert line =~ "[warning] Palladion DB: TLS not reloaded#{said}: the configuration of DB"
      end
    end

    test "certificates that expire say whose they are" do
      for {kind, subject, endpoint, said} <- [
            {:client, "CN=client", nil, "our own certificate CN=client"},
            {:authority, "CN=a\nb", nil, "the trusted authority CN=a b"},
            {:server, nil, "db1:9042", "the certificate of db1:9042"}
          ],
          {seconds, when?} <- [{86_400 * 3 + 5, "expires in 3 days"}, {-1, "has expired"}] do
        metadata = %{cluster: DB, certificate: kind, subject: subject, endpoint: endpoint}
        remaining = System.convert_time_unit(seconds, :second, :native)
        measurements = %{remaining: remaining}
        metadata = Map.put(metadata, :not_after, 1)

        assert [line] = lines(fn -> emit([:certificate, :expiring], measurements, metadata) end)
        assert line =~ "[warning] Palladion DB: #{said} #{when?}"
      end
    end
  end

  describe "options" do
    test "a level is that of all lines" do
      for options <- [:error, [level: :error]] do
        assert [line] = lines(options, fn -> request(%{}, %{slow_after: 0}) end)

        assert line =~ "[error]"
      end
    end

    test "without them nodes and connections are left to the cluster" do
      assert lines([], fn ->
               emit([:node, :up], %{system_time: 1}, %{cluster: DB})
               emit([:connection, :closed], %{duration: 1}, Map.put(@peer, :error, nil))
               emit([:events, :dropped], %{count: 7}, %{cluster: DB})
             end) == []

      error = %ConnectionError{reason: :connection_lost, endpoint: "db1:9042"}

      assert [retry, slow] =
               lines([], fn ->
                 span = Span.start(:query, @base)
                 Span.retry(span, %{decision: :retry_next, attempt: 1, error: error})
                 request(%{}, %{slow_after: 0})
               end)

      assert retry =~ "attempt 1 failed"
      assert slow =~ "slow request"
    end

    test "only some groups" do
      both = fn ->
        request(%{}, %{slow_after: 0})
        emit([:node, :up], %{system_time: 1}, %{cluster: DB})
      end

      assert [line] = lines([only: [:nodes]], both)
      assert line =~ "node up"
      assert [line] = lines([only: [:requests, :retries]], both)
      assert line =~ "slow"
    end

    test "all others are refused" do
      for options <- [
            :loud,
            [level: :loud],
            [only: []],
            [only: [:queries]],
            [only: :nodes],
            [all: true],
            "info",
            [1]
          ] do
        assert_raise ArgumentError, ~r/:requests, :retries/, fn ->
          Telemetry.attach_default_logger(options)
        end
      end
    end

    test "once is enough" do
      assert Telemetry.attach_default_logger() == :ok
      assert Telemetry.attach_default_logger() == {:error, :already_exists}
      assert Telemetry.detach_default_logger() == :ok
      assert Telemetry.detach_default_logger() == {:error, :not_found}
    end
  end

  test "no event that is declared makes it fail" do
    Telemetry.attach_default_logger(only: @all)

    capture_log(fn ->
      for event <- Telemetry.events() do
        measurements = Map.new(event.measurements, &{&1.name, 1})
        metadata = Map.new(event.metadata, &{&1.name, nil})
        :telemetry.execute(event.name, measurements, metadata)
        [:palladion | suffix] = event.name
        Telemetry.execute(suffix, measurements, Map.take(@peer, Map.keys(metadata)))
      end
    end)

    assert Telemetry.detach_default_logger() == :ok
  end

  # The lines of this cluster.
  defp lines(options \\ [only: @all], fun) do
    log =
      capture_log([format: "[$level] $message\n", colors: [enabled: false]], fn ->
        :ok = Telemetry.attach_default_logger(options)
        fun.()
        :ok = Telemetry.detach_default_logger()
      end)

    for line <- String.split(log, "\n", trim: true), line =~ "Palladion DB", do: line
  end

  defp request(outcome, more \\ %{}) do
    :query |> Span.start(Map.merge(@base, more)) |> Span.stop(outcome)
  end

  defp emit(suffix, measurements, metadata) do
    Telemetry.execute(suffix, measurements, metadata)
  end
end
