defmodule Palladion.RequestOptionsTest do
  use ExUnit.Case, async: true

  alias Palladion.{Config, RequestOptions}
  alias Palladion.RetryPolicies.{Default, None}

  setup_all do
    {:ok, config} = Config.parse(name: MyApp.DB, tls: false, attempt_timeout: 700, retry: :none)
    attempts = RequestOptions.attempts(config)
    %{entry: %{timeout: 5_000, consistency: 10, forms: 0, attempts: attempts}}
  end

  defp attempts(entry, options) do
    assert {_timeout, _native, attempts} = RequestOptions.build(entry, options)
    attempts
  end

  test "without options it's the cluster's", %{entry: entry} do
    assert {5_000, {10, nil, 5_000, nil, nil, 0, nil}, attempts} = RequestOptions.build(entry, [])
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

  test "a timestamp is any number of 64 bits", %{entry: entry} do
    for timestamp <- [-0x8000_0000_0000_0000, 0, 0x7FFF_FFFF_FFFF_FFFF] do
      assert {_timeout, native, _attempts} = RequestOptions.build(entry, timestamp: timestamp)
      assert elem(native, 4) == timestamp
    end
  end

  test "what is wrong is raised, with what to write", %{entry: entry} do
    for {option, text} <- [
          {[idempotent: nil], "invalid value of the option :idempotent"},
          {[attempt_timeout: 0], "invalid value of the option :attempt_timeout"},
          {[attempt_timeout: :infinity], "invalid value of the option :attempt_timeout"},
          {[attempt_timeout: 0x1_0000_0000], "invalid value of the option :attempt_timeout"},
          {[timestamp: 0x8000_0000_0000_0000], "invalid value of the option :timestamp"},
          {[timestamp: -0x8000_0000_0000_0001], "invalid value of the option :timestamp"},
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
  end
end
