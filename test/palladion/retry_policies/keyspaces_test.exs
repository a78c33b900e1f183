defmodule Palladion.RetryPolicies.KeyspacesTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Schema
  alias Palladion.{ConnectionError, Error}
  alias Palladion.RetryPolicies.{Default, Keyspaces}

  doctest Keyspaces

  defp decide(error, attempt, idempotent, options \\ []) do
    Keyspaces.decide(error, context(attempt, idempotent, options))
  end

  defp context(attempt, idempotent, options) do
    %{attempt: attempt, idempotent: idempotent, statement: "UPDATE t SET …", options: options}
  end

  defp write_timeout(type) do
    details = %{consistency: "LOCAL_QUORUM", received: 1, required: 2, write_type: type}
    %Error{reason: :write_timeout, details: details}
  end

  test "where nothing was begun: the same node, later" do
    for reason <- [:unavailable, :is_bootstrapping], idempotent <- [true, false] do
      assert {:retry_same, _ms} = decide(%Error{reason: reason, details: %{}}, 4, idempotent)
    end
  end

  test "what looks like throttling: the same node, later, if idempotent" do
    for reason <- [:read_timeout, :overloaded, :server_error, :truncate_error] do
      error = %Error{reason: reason, details: %{}}
      assert {:retry_same, _ms} = decide(error, 4, true)
      assert decide(error, 1, false) == :give_up
    end
  end

  test "a write: likewise, but for counters and conditional ones" do
    for type <- ["SIMPLE", "UNLOGGED_BATCH", "BATCH", "BATCH_LOG"] do
      assert {:retry_same, _ms} = decide(write_timeout(type), 1, true)
      assert decide(write_timeout(type), 1, false) == :give_up
    end

    for type <- ["COUNTER", "CAS", "SOMETHING_NEW"], idempotent <- [true, false] do
      assert decide(write_timeout(type), 1, idempotent) == :give_up
    end
  end

  test "anything else: as by default" do
    errors =
      for(reason <- ConnectionError.reasons(), do: %ConnectionError{reason: reason}) ++
        for reason <- [:read_failure, :write_failure, :syntax_error, :invalid, :unauthorized],
            do: %Error{reason: reason}

    for error <- errors, sent <- [true, false], idempotent <- [true, false], attempt <- [1, 2] do
      error = %{error | details: %{sent: sent}}
      context = context(attempt, idempotent, [])
      assert Keyspaces.decide(error, context) == Default.decide(error, context)
    end
  end

  test "pauses are random ones between the bounds" do
    pauses = for _ <- 1..200, do: elem(decide(%Error{reason: :overloaded}, 1, true), 1)
    assert Enum.all?(pauses, &(&1 in 10..100))
    assert length(Enum.uniq(pauses)) > 20

    options = [min_delay: 7, max_delay: 7]
    assert decide(%Error{reason: :overloaded}, 1, true, options) == {:retry_same, 7}
  end

  test "max_attempts bounds them all" do
    lost = %ConnectionError{reason: :connection_lost, details: %{sent: false}}

    for error <- [%Error{reason: :overloaded}, lost] do
      assert decide(error, 5, true) == :give_up
      assert decide(error, 5, true, max_attempts: 6) != :give_up
      assert decide(error, 1, true, max_attempts: 1) == :give_up
    end
  end

  test "the defaults are the documented ones" do
    defaults = for {name, spec} <- Schema.Policies.keyspaces_retry(), do: {name, spec[:default]}
    assert defaults == [max_attempts: 5, min_delay: 10, max_delay: 100]
    assert {:retry_same, _ms} = decide(%Error{reason: :overloaded}, 4, true)
  end
end
