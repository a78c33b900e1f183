defmodule Palladion.ConnectionError do
  @moduledoc """
  A connection could not be made or was lost, or a request never got an answer over one.

  What a server answered to a request is a `Palladion.Error` instead.

  ## Fields

    * `reason` - an atom to match on, of the table below
    * `endpoint` - `"host:port"`, or `nil` where no endpoint is concerned
    * `details` - a map of plain values, with what is known of: `:name` (the name that was
      checked), `:names` (the names in the server's certificate), `:fingerprint` (the SHA-256 of
      the server's certificate, hexadecimal), `:not_before`, `:not_after` (of the certificate, in
      Unix seconds), `:timeout` (ms), `:address`,
      `:errno`, `:class` (of the server's authenticator), `:mechanism` (of the login),
      `:server_message`, `:server_version` (of the protocol), `:compression` (that was asked for),
      `:offered` (those that the server has), `:code`, `:detail`, `:count`, `:sent` (whether the
      request had left), `:datacenter` (the one that was looked for) and `:datacenters` (those there are), `:in_force` (whether what
      `Palladion.reload_tls/2` read is), `:cause` and `:last_error` (each `{reason, details}` again)

  ## Reasons

  #{Palladion.ConnectionError.Reasons.docs()}
  """

  alias Palladion.ConnectionError.Reasons

  defexception reason: nil, endpoint: nil, details: %{}

  @type t :: %__MODULE__{reason: atom(), endpoint: String.t() | nil, details: map()}

  @doc """
  All reasons there are.

      iex> :unknown_ca in Palladion.ConnectionError.reasons()
      true
  """
  @spec reasons() :: [atom(), ...]
  def reasons, do: Keyword.keys(Reasons.all())

  @doc """
  What happened, where, and what to do about it.

      iex> Exception.message(%Palladion.ConnectionError{reason: :dns_failed, endpoint: "db1:9042"})
      "db1:9042: the host name can't be resolved. Check its spelling in contact_points:, and that this machine's DNS knows it."
  """
  @impl true
  @spec message(t()) :: String.t()
  def message(%__MODULE__{} = error), do: "#{summary(error)}. #{advice(error)}"

  @doc false
  @spec advice(t()) :: String.t()
  def advice(%__MODULE__{reason: reason}) do
    {_what, advice} = Reasons.fetch(reason)
    advice
  end

  @doc false
  # An error as it crosses from the native library. Unknown kinds and fields pass.
  @spec from_native({atom(), map()}) :: t()
  def from_native({kind, details}) when is_atom(kind) and is_map(details) do
    {endpoint, details} = Map.pop(details, :endpoint)
    %__MODULE__{reason: kind, endpoint: endpoint, details: Palladion.Node.put_host_id(details)}
  end

  @doc false
  @spec summary(t()) :: String.t()
  def summary(%__MODULE__{} = error) do
    {what, _advice} = Reasons.fetch(error.reason)
    prefix = if error.endpoint, do: "#{error.endpoint}: "

    case facts(error) do
      [] -> "#{prefix}#{what}"
      facts -> "#{prefix}#{what} (#{Enum.join(facts, "; ")})"
    end
  end

  @order [
    :name,
    :names,
    :fingerprint,
    :not_before,
    :not_after,
    :timeout,
    :address,
    :class,
    :mechanism,
    :server_version,
    :compression,
    :offered,
    :server_message,
    :code,
    :detail,
    :errno,
    :count,
    :datacenter,
    :datacenters,
    :cause,
    :sent,
    :last_error
  ]

  defp facts(%{reason: :unknown_cluster, details: %{name: name}}) when is_binary(name), do: [name]

  defp facts(%{reason: reason, details: %{cause: {reason, cause}} = details}) do
    # The same once more, with what is known of it.
    facts(%{reason: reason, details: Map.merge(cause, Map.delete(details, :cause))})
  end

  defp facts(%{details: details}) do
    for key <- @order,
        (value = Map.get(details, key)) != nil,
        value != [] or key == :offered,
        do: fact(key, value)
  end

  # What the other side sent is inspected, so that it can't write lines of its own into a log.
  defp fact(:name, name), do: "checked for #{show(name)}"
  defp fact(:names, names), do: "the certificate is for #{list(names)}"
  defp fact(:fingerprint, digest), do: "its SHA-256 fingerprint is #{show(digest)}"
  defp fact(:not_before, seconds), do: "valid from #{time(seconds)}"
  defp fact(:not_after, seconds), do: "valid until #{time(seconds)}"
  defp fact(:timeout, ms), do: "after #{show(ms)} ms"
  defp fact(:address, address), do: "at #{show(address)}"
  defp fact(:class, class), do: "its authenticator is #{show(class)}"
  defp fact(:mechanism, name), do: "the mechanism is #{show(name)}"
  defp fact(:server_message, text), do: "the server says #{show(text)}"
  defp fact(:server_version, version), do: "it speaks version #{show(version)}"
  defp fact(:compression, name), do: "asked for #{show(name)}"
  defp fact(:offered, []), do: "it offers none"
  defp fact(:offered, names), do: "it offers #{list(names)}"
  defp fact(:detail, detail), do: show(detail)
  defp fact(:errno, errno), do: "error code #{show(errno)}"

  defp fact(:code, code), do: "its error code is #{show(code)}"
  defp fact(:count, count), do: "#{show(count)} of them"
  defp fact(:datacenter, name), do: "it is #{show(name)}"
  defp fact(:datacenters, names), do: "there are nodes in #{list(names)}"
  defp fact(:sent, false), do: "the request had not been sent"
  defp fact(:sent, true), do: "the request had been sent, and may have been executed"

  defp fact(:cause, {kind, details}) when is_atom(kind) and is_map(details),
    do: "because: #{summary(from_native({kind, details}))}"

  defp fact(:last_error, {kind, details}) when is_atom(kind) and is_map(details),
    do: "last error: #{summary(from_native({kind, details}))}"

  defp fact(:last_error, %__MODULE__{} = error), do: "last error: #{summary(error)}"
  defp fact(:cause, other), do: "because: #{show(other)}"
  defp fact(:last_error, other), do: "last error: #{show(other)}"

  @shown_names 5

  defp list(names) when is_list(names) do
    {shown, more} = Enum.split(names, @shown_names)
    rest = if more != [], do: " and #{length(more)} more"
    Enum.map_join(shown, ", ", &show/1) <> "#{rest}"
  end

  defp list(other), do: show(other)

  defp time(seconds) when is_integer(seconds) do
    case DateTime.from_unix(seconds) do
      {:ok, time} -> DateTime.to_string(time)
      {:error, _} -> "#{seconds}"
    end
  end

  defp time(other), do: show(other)

  defp show(value) when is_integer(value), do: Integer.to_string(value)
  defp show(value), do: inspect(value, printable_limit: 300, limit: 20)
end
