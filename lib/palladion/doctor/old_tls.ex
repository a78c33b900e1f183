defmodule Palladion.Doctor.OldTLS do
  @moduledoc false
  # Internal: whether a server accepts versions of TLS that Palladion doesn't implement. Erlang's
  # :ssl asks, where the runtime has it and it still can; the handshake ends at the server's
  # certificate, and nothing is sent after it.

  @versions [:"tlsv1.1", :tlsv1]

  @type version :: :"tlsv1.1" | :tlsv1
  @type answer :: :accepted | :refused | {:unknown, String.t()}

  @doc false
  @spec versions() :: [version(), ...]
  def versions, do: @versions

  @doc false
  # `sni` is what the server is asked for, or `nil`.
  @spec ask(version(), String.t(), :inet.port_number(), String.t() | nil, timeout()) :: answer()
  def ask(version, address, port, sni, timeout) do
    with true <- Code.ensure_loaded?(:ssl),
         {:ok, _started} <- Application.ensure_all_started(:ssl) do
      connect(version, address, port, sni, timeout)
    else
      _ -> {:unknown, "for this runtime has no :ssl to ask with"}
    end
  end

  defp connect(version, address, port, sni, timeout) do
    {:ok, address} = address |> String.to_charlist() |> :inet.parse_strict_address()

    # In a process of its own, for messages of sockets.
    task = Task.async(fn -> handshake(version, address, port, sni, timeout) end)

    case Task.yield(task, 2 * timeout) || Task.shutdown(task, :brutal_kill) do
      {:ok, result} -> answer(result)
      nil -> {:unknown, "for the server didn't answer in time"}
    end
  end

  # What it raises would end the process that asks as well.
  defp handshake(version, address, port, sni, timeout) do
    tag = make_ref()
    result = :ssl.connect(address, port, options(version, sni, self(), tag), timeout)
    with {:ok, socket} <- result, do: :ssl.close(socket)
    if certificate_seen?(tag), do: :ok, else: result
  catch
    # A version or cipher suite that this :ssl doesn't know any more.
    _kind, _value -> {:error, {:options, version}}
  end

  defp options(version, sni, pid, tag) do
    # A server that has shown a certificate has agreed to the version.
    verify = fn _certificate, _event, _state ->
      send(pid, {tag, :certificate})
      {:fail, :seen}
    end

    [
      versions: [version],
      ciphers: :ssl.cipher_suites(:all, version),
      verify: :verify_peer,
      cacerts: [],
      verify_fun: {verify, nil},
      server_name_indication: if(sni, do: String.to_charlist(sni), else: :disable),
      log_level: :none
    ]
  end

  defp certificate_seen?(tag) do
    receive do
      {^tag, :certificate} -> true
    after
      0 -> false
    end
  end

  defp answer(:ok), do: :accepted
  defp answer({:ok, _socket}), do: :accepted

  defp answer({:error, {:options, _option}}),
    do: {:unknown, "for this runtime's :ssl can't speak it"}

  defp answer({:error, :timeout}), do: {:unknown, "for the server didn't answer in time"}
  defp answer({:error, _alert_or_closed}), do: :refused
end
