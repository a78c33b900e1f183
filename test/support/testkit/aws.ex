defmodule Palladion.Test.Testkit.AWS do
  @moduledoc """
  What stands in for AWS in the testkit: access keys that its servers know, and small HTTP servers that give such out.

      AWS.access_key(access_key_id: "AKIATESTKIT", secret: "secret")
      imds = AWS.start(:imds, validity: 2_000)
      # … AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url …
      %{issued: 2} = AWS.wait(imds, issued: {:min, 2})

  A stand-in ends with the test that started it. `palladion-testkit help` has all options.
  """

  alias Palladion.Test.Testkit.Porter

  @enforce_keys [:id, :url, :port]
  defstruct [:id, :url, :port]

  @type t :: %__MODULE__{}

  @doc """
  Has all servers know an access key: `access_key_id:`, `secret:`, `session_token:`, `expires_in:` (ms). Of one that is known, what
  is given changes.
  """
  @spec access_key(keyword) :: :ok
  def access_key(options), do: done("access_key", options)

  @doc "Has all servers forget an access key."
  @spec forget_access_key(String.t()) :: :ok
  def forget_access_key(id), do: done("forget_access_key", access_key_id: id)

  @doc """
  The access keys that servers know now, by their ids: `secret`, `session_token` and `expires_in` in ms, negative since it expired.
  """
  @spec access_keys() :: %{String.t() => map}
  def access_keys do
    for {id, pairs} <- Porter.command("access_keys", []), into: %{} do
      pairs = Porter.parse_pairs(pairs)
      expires_in = pairs["expires_in"] && String.to_integer(pairs["expires_in"])

      {id,
       %{
         secret: pairs["secret"],
         session_token: pairs["session_token"],
         expires_in: expires_in
       }}
    end
  end

  @doc """
  Starts a stand-in: `:imds`, `:container` or `:sts`.

  `validity:` of what it gives out, in ms; `fault:`, one of `:none`, `:hang`, `:failure`, `:half`, `:garbage`, `:expired`, and
  `fault_times:`; `role:` and `region:` of `:imds`, `authorization:` of `:container`, `web_identity_token:` of `:sts`.
  """
  @spec start(atom, keyword) :: t
  def start(service, options \\ []) do
    answer = Porter.command("aws_start", [service: service] ++ options)
    id = String.to_integer(answer["aws"])
    ExUnit.Callbacks.on_exit(fn -> Porter.command("aws_stop", aws: id) end)
    %__MODULE__{id: id, url: answer["url"], port: String.to_integer(answer["port"])}
  end

  @doc "Changes `validity:`, `fault:` or `fault_times:`; a fault that isn't named is over."
  @spec set(t, keyword) :: :ok
  def set(aws, options \\ []), do: done("aws_set", [aws: aws.id] ++ options)

  @doc "How many `requests` there were, `tokens` of IMDSv2, times it was `asked` for credentials, `issued`, `faults`, `refused`."
  @spec counters(t) :: %{atom => non_neg_integer}
  def counters(aws), do: "aws_counters" |> Porter.command(aws: aws.id) |> counts()

  @doc "Waits until these are as told, as in `Testkit.wait/3`."
  @spec wait(t, keyword, timeout :: pos_integer) :: %{atom => non_neg_integer}
  def wait(aws, conditions, timeout \\ 10_000) do
    conditions =
      for {name, bound} <- conditions do
        case bound do
          {kind, n} -> {"#{name}.#{kind}", n}
          n -> {name, n}
        end
      end

    "aws_wait" |> Porter.command([{"aws", aws.id}, {"timeout", timeout} | conditions]) |> counts()
  end

  defp counts(pairs),
    do: Map.new(pairs, fn {name, n} -> {String.to_atom(name), String.to_integer(n)} end)

  defp done(command, arguments) do
    Porter.command(command, arguments)
    :ok
  end
end
