defmodule Palladion.RetryPolicies.DefaultTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Schema
  alias Palladion.{ConnectionError, Error}
  alias Palladion.RetryPolicies.Default

  doctest Default

  defp decide(error, attempt, idempotent, options \\ []) do
    Default.decide(error, %{
      attempt: attempt,
      idempotent: idempotent,
      statement: "UPDATE t SET a = 1 WHERE k = 1",
      options: options
    })
  end

  # For an idempotent statement and for another, after the first attempt and after the second.
  defp decisions(error) do
    for idempotent <- [true, false], attempt <- [1, 2], do: decide(error, attempt, idempotent)
  end

  defp read_timeout(received, data_present) do
    details = %{consistency: "QUORUM", received: received, required: 2}
    %Error{reason: :read_timeout, details: Map.put(details, :data_present, data_present)}
  end

  defp write_timeout(type) do
    details = %{consistency: "QUORUM", received: 1, required: 2, write_type: type}
    %Error{reason: :write_timeout, details: details}
  end

  @always [:retry_next, :retry_next, :retry_next, :retry_next]
  @never [:give_up, :give_up, :give_up, :give_up]
  @once [:retry_next, :give_up, :retry_next, :give_up]
  @if_idempotent [:retry_next, :retry_next, :give_up, :give_up]

  test "too few replicas alive: another node, once" do
    assert decisions(%Error{reason: :unavailable}) == @once
  end

  test "a read with enough answers and no data: the same node, once, if idempotent" do
    for received <- [2, 3] do
      assert decisions(read_timeout(received, false)) ==
               [:retry_same, :give_up, :give_up, :give_up]
    end
  end

  test "any other read that took too long: another node, once, if idempotent" do
    for error <- [read_timeout(1, false), read_timeout(1, true), read_timeout(2, true)] do
      assert decisions(error) == [:retry_next, :give_up, :give_up, :give_up]
    end
  end

  test "a write that took too long: the same node, once, if idempotent and of a kind that allows it" do
    for type <- ["SIMPLE", "UNLOGGED_BATCH", "BATCH_LOG"] do
      assert decisions(write_timeout(type)) == [:retry_same, :give_up, :give_up, :give_up]
    end

    for type <- ["BATCH", "COUNTER", "CAS", "VIEW", "CDC", "SOMETHING_NEW"] do
      assert decisions(write_timeout(type)) == @never
    end
  end

  test "a node that is bootstrapping: another one" do
    assert decisions(%Error{reason: :is_bootstrapping}) == @always
  end

  test "errors of one node: another one, if idempotent" do
    for reason <- [:overloaded, :server_error, :truncate_error] do
      assert decisions(%Error{reason: reason, details: %{}}) == @if_idempotent
    end
  end

  test "a connection lost, or a node too slow, after the request was written: another, if idempotent" do
    for reason <- [
          :connection_lost,
          :connection_closed,
          :heartbeat_timeout,
          :closed,
          :panic,
          :attempt_timeout
        ] do
      assert decisions(%ConnectionError{reason: reason, details: %{sent: true}}) == @if_idempotent
      assert decisions(%ConnectionError{reason: reason, details: %{sent: false}}) == @always
      assert decisions(%ConnectionError{reason: reason}) == @never
    end
  end

  test "everything else is the caller's" do
    refused =
      [:protocol_error, :read_failure, :write_failure, :function_failure, :syntax_error] ++
        [:unauthorized, :invalid, :config_error, :already_exists, :unprepared, :unknown_code] ++
        [:bad_value, :bad_statement, :decode_failed, :response_too_large, :bad_credentials]

    for reason <- refused do
      assert decisions(%Error{reason: reason, details: %{}}) == @never
    end

    may_be_tried_again = [
      :connection_lost,
      :connection_closed,
      :heartbeat_timeout,
      :closed,
      :panic
    ]

    for reason <- ConnectionError.reasons() -- [:attempt_timeout | may_be_tried_again] do
      assert decisions(%ConnectionError{reason: reason, details: %{sent: true}}) == @never
    end
  end

  test "max_attempts bounds them all" do
    error = %Error{reason: :is_bootstrapping}
    assert decide(error, 2, true) == :retry_next
    assert decide(error, 3, true) == :give_up
    assert decide(error, 9, true, max_attempts: 10) == :retry_next
    assert decide(error, 10, true, max_attempts: 10) == :give_up
    assert decide(error, 1, true, max_attempts: 1) == :give_up
  end

  test "the default is the documented one" do
    default = Schema.Policies.retry()[:max_attempts][:default]
    error = %Error{reason: :is_bootstrapping}
    assert decide(error, default - 1, true) == :retry_next
    assert decide(error, default, true) == :give_up
  end
end
