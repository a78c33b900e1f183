defmodule Palladion.Test.Refusals do
  @moduledoc """
  What a caller is told when a cluster can't connect.
  """

  import ExUnit.Assertions
  import ExUnit.CaptureLog
  import Palladion.Test.Clusters

  alias Palladion.ConnectionError

  @doc """
  Starts a cluster with these `tls:` options, which must be refused for this reason. The message has the reason's advice, which
  names `about`. Gives the details of the error.
  """
  def assert_refused(server, tls, expected, about) do
    {error, _log} = with_log(fn -> refused(server, tls) end)
    {reason, details} = error.details.last_error
    assert reason == expected, "refused with #{reason}: #{inspect(details)}"

    assert {what, advice} = ConnectionError.Reasons.all()[reason]
    assert advice =~ about
    message = Exception.message(%ConnectionError{reason: reason, details: details})
    assert message =~ what
    assert String.ends_with?(message, advice)
    # Whoever waits for a connection is told as much.
    assert Exception.message(error) =~ what
    details
  end

  defp refused(server, tls) do
    name = start_cluster!(server, tls: tls)

    eventually("an attempt failed", fn ->
      match?({:ok, %{last_error: %ConnectionError{}}}, Palladion.status(name))
    end)

    assert {:error, %ConnectionError{reason: :no_connection} = error} =
             Palladion.await_ready(name, 50)

    ExUnit.Callbacks.stop_supervised!(name)
    error
  end
end
