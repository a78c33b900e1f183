defmodule Palladion.RequestOptionsTest do
  use ExUnit.Case, async: true

  alias Palladion.{Config, RequestOptions}
  alias Palladion.RetryPolicies.{Default, None}

  setup_all do
    {:ok, config} = Config.parse(name: MyApp.DB, tls: false, attempt_timeout: 700, retry: :none)
    attempts = RequestOptions.attempts(config)

    %{
      entry: %{
        timeout: 5_000,
        consistency: 10,
        forms: 0,
        attempts: attempts,
        timestamp: RequestOptions.timestamp(config)
      }
    }
  end

  defp attempts(entry, options) do
    assert {_timeout, _native, attempts} = RequestOptions.build(entry, options)
    attempts
  end

  test "without options it's the cluster's", %{entry: entry} do
    assert {5_000, {10, nil, 5_000, nil, :client, 0, nil, nil}, attempts} =
             RequestOptions.build(entry, [])

    assert attempts == %{idempotent: nil, retry: {None, []}, timeout: 700}
    assert :erts_debug.same(attempts, entry.attempts)
    assert attempts(entry, consistency: :one) == attempts
  end

  test "each option of attempts has its place", %{entry: entry} do
    for {option, change} <- [
          {[idempotent: true], %{idempotent: true}},
          {[idempotent: false], %{idempotent: false}},
          {[attempt_timeout: 5], %{timeout: 5}},
          {[attempt_timeout: nil], %{timeout: nil}},
          {[attempt_timeout: 0xFFFFFFFF], %{timeout: 0xFFFFFFFF}},
          {[retry: :default], %{retry: {Default, []}}},
          {[retry: {:default, max_attempts: 9}], %{retry: {Default, max_attempts: 9}}}
        ] do
      assert attempts(entry, option) == Map.merge(entry.attempts, change)
    end
  end

  test "a timestamp is any number of 64 bits but the least", %{entry: entry} do
    for timestamp <- [-0x7FFF_FFFF_FFFF_FFFF, 0, 0x7FFF_FFFF_FFFF_FFFF] do
      assert {_timeout, native, _attempts} = RequestOptions.build(entry, timestamp: timestamp)
      assert elem(native, 4) == timestamp
    end
  end

  test "a timestamp is the client's or the server's, as the cluster or the request says",
       %{entry: entry} do
    {:ok, off} = Config.parse(name: MyApp.DB, tls: false, client_timestamps: false)
    without = %{entry | timestamp: RequestOptions.timestamp(off)}

    for {entry, options, timestamp} <- [
          {entry, [], :client},
          {entry, [consistency: :one], :client},
          {entry, [timestamp: :server], nil},
          {entry, [timestamp: 5], 5},
          {without, [], nil},
          {without, [consistency: :one], nil},
          {without, [timestamp: :client], :client}
        ] do
      assert {_timeout, native, _attempts} = RequestOptions.build(entry, options)
      assert elem(native, 4) == timestamp

      made = RequestOptions.put_timestamp(native, fn -> 7 end)
      assert elem(made, 4) == if(timestamp == :client, do: 7, else: timestamp)
      assert Tuple.delete_at(made, 4) == Tuple.delete_at(native, 4)
    end
  end

  test "what few requests have stands together, or not at all", %{entry: entry} do
    for {options, extra} <- [
          {[keyspace: "ks"], {"ks", nil, [], false}},
          {[now_in_seconds: -1], {nil, -1, [], false}},
          {[custom_payload: %{"a" => <<0, 255>>, "b" => ""}],
           {nil, nil, [{"a", <<0, 255>>}, {"b", ""}], false}},
          {[tracing: true], {nil, nil, [], true}},
          {[keyspace: nil, custom_payload: %{}, tracing: false], nil}
        ] do
      assert {_timeout, native, _attempts} = RequestOptions.build(entry, options)
      assert elem(native, 6) == extra
      assert RequestOptions.keyspace(native) == options[:keyspace]
    end
  end

  test "the first of one that is repeated counts, as of all keyword lists", %{entry: entry} do
    twice = [timeout: 5, rows: :lists, timeout: 6, keyspace: nil, rows: :maps, keyspace: "ks"]
    once = [timeout: 5, rows: :lists, keyspace: nil]
    assert RequestOptions.build(entry, twice) == RequestOptions.build(entry, once)

    assert {1, _built} = RequestOptions.build_batch(entry, type: :unlogged, type: :counter)

    # Those that don't count are looked at, too.
    assert_raise ArgumentError, ~r/option :timeout/, fn ->
      RequestOptions.build(entry, timeout: 5, timeout: :never)
    end
  end

  test "of a batch there is a type, and of nothing else", %{entry: entry} do
    for {options, type} <- [
          {[], 0},
          {[type: :logged], 0},
          {[type: :unlogged], 1},
          {[type: :counter], 2}
        ] do
      assert {^type, built} = RequestOptions.build_batch(entry, options)
      assert built == RequestOptions.build(entry, [])
    end

    assert_raise ArgumentError, ~r/:type is for Palladion.batch\/3/, fn ->
      RequestOptions.build(entry, type: :logged)
    end
  end

  test "no value is shown where an option is wrong", %{entry: entry} do
    for payload <- [%{"a" => :secret}, %{secret: "a"}, [{"a", "secret"}], %URI{path: "secret"}] do
      error =
        assert_raise ArgumentError, fn ->
          RequestOptions.build(entry, custom_payload: payload)
        end

      refute error.message =~ "secret"
      assert error.message =~ "invalid value of the option :custom_payload"
    end
  end

  test "what is wrong is raised, with what to write", %{entry: entry} do
    for {option, text} <- [
          {[idempotent: nil], "invalid value of the option :idempotent"},
          {[attempt_timeout: 0], "invalid value of the option :attempt_timeout"},
          {[attempt_timeout: :infinity], "invalid value of the option :attempt_timeout"},
          {[attempt_timeout: 0x1_0000_0000], "invalid value of the option :attempt_timeout"},
          {[timestamp: 0x8000_0000_0000_0000], "invalid value of the option :timestamp"},
          {[timestamp: -0x8000_0000_0000_0000],
           "option :timestamp: it must be µs from -\\(2⁶³ - 1\\) to 2⁶³ - 1, :client or :server"},
          {[timestamp: -0x8000_0000_0000_0001], "invalid value of the option :timestamp"},
          {[timestamp: :sever], "invalid value of the option :timestamp"},
          {[keyspace: :ks], "invalid value of the option :keyspace"},
          {[keyspace: ""], "invalid value of the option :keyspace"},
          {[now_in_seconds: 0x8000_0000], "invalid value of the option :now_in_seconds"},
          {[tracing: nil], "invalid value of the option :tracing"},
          {[type: :unloged],
           "invalid value of the option :type: it must be :logged, :unlogged or :counter"},
          {[timeout: 0x1_0000_0000],
           "invalid value of the option :timeout: it must be 0 to 4,294,967,295 ms or :infinity"},
          {[consistency: :most], ":consistency: it must be :any, :one, "},
          {%{timeout: 5}, "options must be a keyword list"},
          {nil, "options must be a keyword list"},
          {[{"timeout", 5}], "options must be a keyword list"},
          {[speed: 1], "known are: [^;]*:attempt_timeout; of a batch :type, too"},
          {[trace: true], "unknown option :trace, did you mean :tracing\\?"},
          {[timestamp: 1.0], "invalid value of the option :timestamp"},
          {[retry: :defualt], "retry: is :defualt, .* did you mean :default\\?"},
          {[retry: String], "retry: is String, which has no decide/2"},
          {[retry: {:default, attempts: 5}],
           "retry.attempts: unknown option, did you mean :max_attempts"},
          {[idempotence: true], "unknown option :idempotence, did you mean :idempotent\\?"}
        ] do
      assert_raise ArgumentError, Regex.compile!(text), fn ->
        RequestOptions.build(entry, option)
      end
    end

    for options <- [%{type: :logged}, nil] do
      assert_raise ArgumentError, ~r/must be a keyword list/, fn ->
        RequestOptions.build_batch(entry, options)
      end
    end
  end
end
